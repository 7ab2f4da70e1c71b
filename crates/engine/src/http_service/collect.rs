use std::{
    error::Error,
    pin::{Pin, pin},
};

use bytes::Buf;
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;

/// Why the body of a request was not collected.
#[derive(Debug)]
pub(super) enum CollectError {
    /// It has more bytes than the limit.
    TooLarge,
    /// It did not arrive whole.
    Broken(Box<dyn Error + Send + Sync>),
}

/// Collects a body of at most `limit` bytes in one buffer, so that a body in small pieces takes no more memory than
/// another.
///
/// `arrived` is told how many bytes have arrived, and the rest is not read before it is done.
pub(super) async fn collect<B: Body, F: Future<Output = ()>>(
    body: B,
    limit: usize,
    arrived: impl Fn(usize) -> F,
) -> Result<Vec<u8>, CollectError>
where
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut body = pin!(body);
    let mut collected = Vec::new();
    while let Some(data) = next(&mut body).await {
        append(&mut collected, data?, limit)?;
        arrived(collected.capacity()).await;
    }
    Ok(collected)
}

/// The next piece of a body, of which trailers are none.
async fn next<B: Body>(body: &mut Pin<&mut B>) -> Option<Result<B::Data, CollectError>>
where
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    loop {
        match body.frame().await?.map(Frame::into_data) {
            Ok(Ok(data)) => return Some(Ok(data)),
            Ok(Err(_trailers)) => {}
            Err(error) => return Some(Err(CollectError::Broken(error.into()))),
        }
    }
}

fn append(collected: &mut Vec<u8>, mut data: impl Buf, limit: usize) -> Result<(), CollectError> {
    if data.remaining() > limit - collected.len() {
        return Err(CollectError::TooLarge);
    }
    while data.has_remaining() {
        let chunk = data.chunk();
        collected.extend_from_slice(chunk);
        let length = chunk.len();
        data.advance(length);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        task::{Context, Poll},
    };

    use bytes::Bytes;

    use super::*;

    /// A body in pieces of one byte, each in memory of its own.
    struct OneByOne(usize);

    impl Body for OneByOne {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.checked_sub(1).map(|left| {
                self.0 = left;
                Ok(Frame::data(vec![b'4'].into()))
            }))
        }
    }

    #[tokio::test]
    async fn a_body_in_small_pieces_takes_no_more_memory_than_its_bytes() {
        let mut collecting = pin!(collect(OneByOne(100_000), 100_000, |_| std::future::ready(())));
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut collected = Poll::Pending;
        let taken = allocation_counter::measure(|| collected = collecting.as_mut().poll(&mut context));
        assert!(matches!(&collected, Poll::Ready(Ok(body)) if body.len() == 100_000));
        // The buffer doubles as it grows.
        assert!(taken.bytes_max <= 3 * 131_072, "{taken:?}");
        assert!(matches!(collect(OneByOne(101), 100, |_| std::future::ready(())).await, Err(CollectError::TooLarge)));
    }
}
