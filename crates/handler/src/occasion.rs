/// A kind of occasion on which handlers run, such as an event that has come.
pub trait Occasion: Sized + 'static {
    /// What a handler can learn of it.
    type Context<'a>: HasSocket;
    /// What a handler answers.
    type Output: Send + 'static;
}

/// Gives the socket something happened to.
pub trait HasSocket {
    /// What a socket is: the server's and the client's differ.
    type Socket;

    /// The socket.
    fn socket(&self) -> &Self::Socket;
}
