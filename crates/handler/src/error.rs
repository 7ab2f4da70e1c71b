use std::{error::Error, fmt};

/// The error of an event handler. `?` makes one of any error, `.into()` of a text too:
///
/// ```
/// # use sockeye_handler::HandlerError;
/// fn parse(text: &str) -> Result<u8, HandlerError> {
///     if text.is_empty() {
///         return Err("nothing was sent".into());
///     }
///     Ok(text.parse()?)
/// }
/// assert_eq!(parse("").unwrap_err().message(), "nothing was sent");
/// assert_eq!(parse("x").unwrap_err().message(), "invalid digit found in string");
/// ```
///
/// The peer is sent the error's text as `{"error": text}`, without the errors that caused it, which only stand in the log.
/// On a server, `on_error` of the namespace may answer with something else.
pub struct HandlerError(Box<dyn Error + Send + Sync>);

impl HandlerError {
    /// An error with this text.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into().into())
    }

    /// The error's text, without its causes.
    pub fn message(&self) -> String {
        self.0.to_string()
    }

    /// The error that it was made of.
    pub fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.0
    }
}

/// It implements neither `Error` nor `Display`, because only so can it be made of every type that does.
impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HandlerError").field(&self.0).finish()
    }
}

/// The text of an error and of all its causes, separated by colons.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
