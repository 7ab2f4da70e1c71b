use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// What a peer is told of a panic: nothing that could help it.
pub const INTERNAL: &str = "internal error";

/// Runs code of the user's, so that its panic ends its own work only.
///
/// # Errors
/// What the panic says.
pub fn guard<R>(run: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic: Box<dyn Any + Send>| {
        match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
            (Some(text), _) => (*text).to_owned(),
            (None, Some(text)) => text.clone(),
            (None, None) => "(a panic without a message)".to_owned(),
        }
    })
}
