use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use tokio::sync::mpsc;

/// A stream of what happens: [`Events`](crate::Events) of a socket, or [`ManagerEvents`](crate::ManagerEvents).
#[derive(Debug)]
pub struct EventStream<T>(mpsc::Receiver<T>);

/// How many events wait in the stream itself.
const CAPACITY: usize = 256;

impl<T> EventStream<T> {
    pub(crate) fn new() -> (mpsc::Sender<T>, Self) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        (sender, Self(receiver))
    }

    /// The next event; `None` when the manager is gone.
    pub async fn next(&mut self) -> Option<T> {
        self.0.recv().await
    }
}

impl<T> Stream for EventStream<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_recv(cx)
    }
}
