//! Bodies on their way: what comes in takes of a share and must not come too slowly, what goes out
//! keeps its share until it is written.

use super::request_state;
use super::shares::{Share, Shares, Short};
use crate::error::Error;
use bytes::Bytes;
use dropshot::Body;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

/// Bytes of a body that must come in each second, on the average, once its first bytes had their
/// time.
const BYTES_PER_SECOND: u64 = 8 * 1024;

/// How long the rest of a body that nobody has read is taken off its connection.
const DRAIN: Duration = Duration::from_secs(2);

/// Bytes of an answer that are given out at once. The connection holds what it was given until it is
/// written, so this is what an answer may have there beyond its share.
const SLICE: usize = 64 * 1024;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The memory that a request's body has taken; given back when this is dropped.
pub(super) struct Meter(Arc<Taken>);

struct Taken {
    share: Mutex<Share>,
    failed: Mutex<Option<BodyError>>,
    /// The part that was not read.
    rest: Mutex<Option<Body>>,
}

#[derive(Clone, Copy)]
enum BodyError {
    Short(Short),
    Slow,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Meter {
    /// `body` of a request of the peer at `address`, as far as `shares` allow. Its first bytes may
    /// take as long as `first_bytes`.
    pub(super) fn of<B>(
        shares: &Shares,
        address: IpAddr,
        first_bytes: Duration,
        body: B,
    ) -> (Body, Self)
    where
        B: HttpBody<Data = Bytes> + Send + Sync + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let share = Mutex::new(shares.share(address));
        let taken = Arc::new(Taken { share, failed: Mutex::default(), rest: Mutex::default() });
        let metered = Metered {
            body: Some(body),
            taken: Arc::clone(&taken),
            first_bytes,
            begun: None,
            received: 0,
            patience: None,
        };
        (Body::wrap(metered), Meter(taken))
    }

    /// Why the body could not be read, if that was our own doing.
    pub(super) fn failure(&self) -> Option<Error> {
        Some(match (*lock(&self.0.failed))? {
            BodyError::Short(Short::All) => {
                Error::unavailable("the server is overloaded: too much is being sent to it")
            }
            BodyError::Short(Short::Address) => Error::unavailable(
                "too much is being sent from this address at once: send less in parallel",
            ),
            BodyError::Short(Short::Key) => Error::unavailable(
                "too much is being sent with this API key at once: send less in parallel",
            ),
            BodyError::Slow => Error::unavailable("the request body came too slowly"),
        })
    }

    /// Takes what nobody has read off the connection, up to `limit` bytes, without keeping it: a
    /// client that is still sending would otherwise see the connection break instead of the answer.
    pub(super) fn drain(&self, limit: usize) {
        let Some(mut rest) = lock(&self.0.rest).take() else { return };
        tokio::spawn(timeout(DRAIN, async move {
            let mut left = limit;
            while let Some(Ok(frame)) = rest.frame().await {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                let Some(still) = left.checked_sub(bytes) else { return };
                left = still;
            }
        }));
    }
}

struct Metered<B>
where
    B: HttpBody<Data = Bytes> + Send + Sync + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// `None` once it is being dropped.
    body: Option<B>,
    taken: Arc<Taken>,
    first_bytes: Duration,
    /// When it was asked for first.
    begun: Option<Instant>,
    /// Bytes.
    received: u64,
    patience: Option<Pin<Box<Sleep>>>,
}

impl<B> Metered<B>
where
    B: HttpBody<Data = Bytes> + Send + Sync + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    fn fail(&self, failed: BodyError) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        *lock(&self.taken.failed) = Some(failed);
        Poll::Ready(Some(Err("the body was not read to its end".into())))
    }
}

impl<B> HttpBody for Metered<B>
where
    B: HttpBody<Data = Bytes> + Send + Sync + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let begun = *this.begun.get_or_insert_with(Instant::now);
        match Pin::new(body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                this.received += bytes as u64;
                let taken = lock(&this.taken.share).take(bytes, request_state::caller());
                match taken {
                    Ok(()) => Poll::Ready(Some(Ok(frame))),
                    Err(short) => this.fail(BodyError::Short(short)),
                }
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let earned = Duration::from_secs(this.received / BYTES_PER_SECOND);
                let until = begun + this.first_bytes + earned;
                let patience = this.patience.get_or_insert_with(|| Box::pin(sleep_until(until)));
                if patience.deadline() != until {
                    patience.as_mut().reset(until);
                }
                match patience.as_mut().poll(cx) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(()) => this.fail(BodyError::Slow),
                }
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }
}

impl<B> Drop for Metered<B>
where
    B: HttpBody<Data = Bytes> + Send + Sync + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            *lock(&self.taken.rest) = Some(Body::wrap(body));
        }
    }
}

/// An answer whose share is held until it is written.
struct Sliced {
    body: Body,
    /// The bytes that have not been given out.
    rest: Bytes,
    _share: Share,
}

/// The body of an answer to the peer at `address`, which holds its share until it is written; or why
/// there is no room for it. One whose size is not known is a stream, and holds next to nothing.
pub(super) fn held(shares: &Shares, address: IpAddr, body: Body) -> Result<Body, Error> {
    let Some(size) = body.size_hint().exact() else { return Ok(body) };
    let mut share = shares.share(address);
    let short = share.take(usize::try_from(size).unwrap_or(usize::MAX), request_state::caller());
    match short {
        Ok(()) => Ok(Body::wrap(Sliced { body, rest: Bytes::new(), _share: share })),
        Err(Short::All) => {
            Err(Error::unavailable("the server is overloaded: too many answers are being read"))
        }
        Err(Short::Address) => Err(Error::unavailable(
            "too many answers for this address wait to be read: read them, or ask for less at once",
        )),
        Err(Short::Key) => Err(Error::unavailable(
            "too many answers for this API key wait to be read: read them, or ask for less at once",
        )),
    }
}

impl HttpBody for Sliced {
    type Data = Bytes;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.rest.is_empty() {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                other => return other,
            }
        }
        let length = self.rest.len().min(SLICE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        match hint.exact() {
            Some(exact) => SizeHint::with_exact(exact + rest),
            None => {
                hint.set_lower(hint.lower() + rest);
                hint
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const MANY: usize = 1 << 20;
    const PATIENCE: Duration = Duration::from_millis(100);

    fn full(bytes: usize) -> Full<Bytes> {
        Full::new(Bytes::from(vec![0; bytes]))
    }

    #[tokio::test]
    async fn a_body_holds_its_bytes_until_its_request_ends() {
        let shares = Shares::of(MANY);
        let (body, meter) = Meter::of(&shares, ADDRESS, PATIENCE, full(MANY / 2));
        assert!(body.collect().await.is_ok() && meter.failure().is_none());
        let (second, refused) = Meter::of(&shares, ADDRESS, PATIENCE, full(1));
        assert!(second.collect().await.is_err());
        let why = refused.failure().expect("refused").to_string();
        assert!(why.contains("from this address"), "{why}");
        drop((meter, refused));
        let (third, _meter) = Meter::of(&shares, ADDRESS, PATIENCE, full(MANY / 2));
        assert!(third.collect().await.is_ok());
    }

    #[tokio::test]
    async fn what_nobody_reads_is_taken_off_the_connection() {
        let (body, meter) = Meter::of(&Shares::of(0), ADDRESS, PATIENCE, full(10));
        drop(body);
        assert!(lock(&meter.0.rest).is_some());
        meter.drain(MANY);
        assert!(lock(&meter.0.rest).is_none());
        let (read, meter) = Meter::of(&Shares::of(MANY), ADDRESS, PATIENCE, full(10));
        read.collect().await.expect("room");
        assert!(lock(&meter.0.rest).is_none());
    }

    /// A body of single bytes that does not end.
    struct Trickle(tokio::time::Interval);

    impl HttpBody for Trickle {
        type Data = Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            self.0.poll_tick(cx).map(|_| Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }
    }

    #[tokio::test]
    async fn a_body_that_trickles_is_not_waited_for() {
        let shares = Shares::of(MANY);
        let trickle = Trickle(tokio::time::interval(PATIENCE / 10));
        let (body, meter) = Meter::of(&shares, ADDRESS, PATIENCE, trickle);
        let begun = Instant::now();
        assert!(body.collect().await.is_err());
        assert!(begun.elapsed() >= PATIENCE);
        let why = meter.failure().expect("refused").to_string();
        assert!(why.contains("too slowly"), "{why}");
    }

    #[tokio::test]
    async fn an_answer_holds_its_share_until_it_is_given_out() {
        let shares = Shares::of(8 * SLICE);
        let answer = || Body::from(vec![7; 3 * SLICE - 1]);
        let mut body = held(&shares, ADDRESS, answer()).expect("room");
        assert_eq!(body.size_hint().exact(), Some(3 * SLICE as u64 - 1));
        let mut sizes = Vec::new();
        while let Some(frame) = body.frame().await {
            sizes.push(frame.expect("no failure").into_data().expect("data").len());
            let why = held(&shares, ADDRESS, answer()).expect_err("no room").to_string();
            assert!(why.contains("wait to be read"), "{why}");
        }
        assert_eq!(sizes, [SLICE, SLICE, SLICE - 1]);
        assert!(body.is_end_stream());
        drop(body);
        assert!(held(&shares, ADDRESS, answer()).is_ok());
    }
}
