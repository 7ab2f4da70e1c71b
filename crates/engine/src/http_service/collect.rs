use std::{error::Error, pin::pin};

use bytes::Buf as _;
use http_body::Body;
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
pub(super) async fn collect<B: Body>(body: B, limit: usize) -> Result<Vec<u8>, CollectError>
where
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut body = pin!(body);
    let mut collected = Vec::new();
    while let Some(frame) = body.frame().await {
        // Trailers are of no interest.
        let Ok(mut data) = frame.map_err(|error| CollectError::Broken(error.into()))?.into_data() else { continue };
        if data.remaining() > limit - collected.len() {
            return Err(CollectError::TooLarge);
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            collected.extend_from_slice(chunk);
            let length = chunk.len();
            data.advance(length);
        }
    }
    Ok(collected)
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll},
    };

    use bytes::Bytes;
    use http_body::Frame;

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
        let mut collecting = pin!(collect(OneByOne(100_000), 100_000));
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut collected = Poll::Pending;
        let taken = allocation_counter::measure(|| collected = collecting.as_mut().poll(&mut context));
        assert!(matches!(&collected, Poll::Ready(Ok(body)) if body.len() == 100_000));
        // The buffer doubles as it grows.
        assert!(taken.bytes_max <= 3 * 131_072, "{taken:?}");
        assert!(matches!(collect(OneByOne(101), 100).await, Err(CollectError::TooLarge)));
    }
}
