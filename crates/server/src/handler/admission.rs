use super::IntoOutput;
use crate::ConnectRefusal;

/// What a connect handler decides: whether the client is let in. A handler returns `()`, or a `Result` whose error
/// turns into a [`ConnectRefusal`].
#[derive(Debug)]
pub struct Admission(pub(crate) Result<(), ConnectRefusal>);

impl IntoOutput<Admission> for () {
    fn into_output(self) -> Admission {
        Admission(Ok(()))
    }
}

impl<T: IntoOutput<Admission>, E: Into<ConnectRefusal>> IntoOutput<Admission> for Result<T, E> {
    fn into_output(self) -> Admission {
        match self {
            Ok(value) => value.into_output(),
            Err(error) => Admission(Err(error.into())),
        }
    }
}
