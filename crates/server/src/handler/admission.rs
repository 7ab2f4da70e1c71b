use super::IntoOutput;
use crate::ConnectRefusal;

/// What connect handlers and middleware decide: whether the client may join the namespace. They return `()`, or
/// `Result<(), ConnectRefusal>`.
#[derive(Debug)]
pub struct Admission(pub(crate) Result<(), ConnectRefusal>);

impl IntoOutput<Admission> for () {
    fn into_output(self) -> Admission {
        Admission(Ok(()))
    }
}

/// The only `Result` that connect handlers return, so that `Ok(())` behind a `?` needs no annotation.
impl IntoOutput<Admission> for Result<(), ConnectRefusal> {
    fn into_output(self) -> Admission {
        Admission(self)
    }
}
