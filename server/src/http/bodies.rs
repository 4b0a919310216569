//! How much of requests' bodies is held in memory at once: whoever sends the byte that is too much
//! is told to come back later.

use bytes::Bytes;
use dropshot::Body;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is counted, in bytes: a whole number of these.
const UNIT: usize = 1024;

/// What there is for all bodies together.
#[derive(Clone)]
pub(super) struct Budget(Arc<Semaphore>);

/// What one request has taken of it; given back when this is dropped.
#[derive(Clone, Default)]
pub(super) struct Share(Arc<Taken>);

#[derive(Default)]
struct Taken {
    permits: Mutex<Option<OwnedSemaphorePermit>>,
    refused: AtomicBool,
}

impl Budget {
    pub(super) fn of(bytes: usize) -> Self {
        Budget(Arc::new(Semaphore::new((bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS))))
    }

    /// `body`, as far as the budget allows; it fails when there is nothing left.
    pub(super) fn meter<B>(&self, body: B) -> (Body, Share)
    where
        B: HttpBody<Data = Bytes> + Send + Sync + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let share = Share::default();
        (Body::wrap(Metered { body, budget: self.clone(), share: share.clone() }), share)
    }

    fn take(&self, share: &Share, bytes: usize) -> bool {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let Ok(more) = Arc::clone(&self.0).try_acquire_many_owned(units) else {
            share.0.refused.store(true, Ordering::Relaxed);
            return false;
        };
        let mut permits = share.0.permits.lock().unwrap_or_else(PoisonError::into_inner);
        match permits.as_mut() {
            Some(permits) => permits.merge(more),
            None => *permits = Some(more),
        }
        true
    }
}

impl Share {
    /// Whether there was nothing left for this body.
    pub(super) fn was_refused(&self) -> bool {
        self.0.refused.load(Ordering::Relaxed)
    }
}

struct Metered<B> {
    body: B,
    budget: Budget,
    share: Share,
}

impl<B> HttpBody for Metered<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => return Poll::Pending,
        };
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        if bytes > 0 && !self.budget.take(&self.share, bytes) {
            return Poll::Ready(Some(Err("no memory is left for this body".into())));
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full};

    async fn read(budget: &Budget, bytes: usize) -> (bool, Share) {
        let (body, share) = budget.meter(Full::new(Bytes::from(vec![0; bytes])));
        (body.collect().await.is_ok(), share)
    }

    #[tokio::test]
    async fn what_is_taken_is_given_back_with_the_request() {
        let budget = Budget::of(10 * UNIT);
        let (first, held) = read(&budget, 8 * UNIT).await;
        assert!(first && !held.was_refused());
        let (second, refused) = read(&budget, 3 * UNIT).await;
        assert!(!second && refused.was_refused());
        drop((held, refused));
        assert!(read(&budget, 10 * UNIT).await.0);
        // an empty body takes nothing, a single byte a whole unit
        let (_, all) = read(&budget, 9 * UNIT + 1).await;
        assert!(read(&budget, 0).await.0);
        assert!(!read(&budget, 1).await.0);
        drop(all);
    }
}
