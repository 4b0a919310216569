//! A connection whose peer has to read what it asked for.
//!
//! An answer that is not read stays in memory. So a peer may keep the server waiting for some time in
//! all, and earns more by reading; a peer that reads next to nothing is disconnected.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Bytes that earn a peer one more second, up to what it began with.
const BYTES_PER_SECOND: u32 = 8 * 1024;

/// A connection that breaks when its peer reads too slowly.
pub(super) struct Paced<S> {
    stream: S,
    /// How long the server waits for the peer at the most.
    patience: Duration,
    /// How long it still does.
    left: Duration,
    /// Since when it does.
    waiting: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, patience: Duration) -> Self {
        Paced { stream, patience, left: patience, waiting: None, alarm: None }
    }

    /// Turns an attempt to write into its outcome: an error when the peer has used up its time.
    fn judge(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match outcome {
            Poll::Ready(Ok(written)) => {
                if let Some(since) = self.waiting.take() {
                    self.left = self.left.saturating_sub(since.elapsed());
                }
                let written = u32::try_from(written).unwrap_or(u32::MAX);
                let earned = Duration::from_secs(1) * written / BYTES_PER_SECOND;
                self.left = (self.left + earned).min(self.patience);
                Poll::Ready(Ok(written as usize))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let until = *self.waiting.get_or_insert_with(Instant::now) + self.left;
                let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(until)));
                if alarm.deadline() != until {
                    alarm.as_mut().reset(until);
                }
                alarm.as_mut().poll(cx).map(|()| Err(ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.judge(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::sleep;

    const PATIENCE: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn a_peer_that_reads_nothing_is_disconnected() {
        let (near, _far) = duplex(1024);
        let begun = Instant::now();
        let mut paced = Paced::new(near, PATIENCE);
        let error = paced.write_all(&[0; 4096]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(begun.elapsed() >= PATIENCE);
    }

    #[tokio::test]
    async fn a_peer_that_reads_a_byte_now_and_then_is_too() {
        let (near, mut far) = duplex(1024);
        let reader = tokio::spawn(async move {
            while far.read_u8().await.is_ok() {
                sleep(PATIENCE / 10).await;
            }
        });
        let mut paced = Paced::new(near, PATIENCE);
        let error = paced.write_all(&[0; 4096]).await.expect_err("too slow");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        reader.abort();
    }

    #[tokio::test]
    async fn a_slow_peer_that_keeps_reading_gets_all_of_it() {
        let (near, mut far) = duplex(8 * 1024);
        let reader = tokio::spawn(async move {
            let mut buffer = vec![0; 10 * 1024];
            let mut read = 0;
            while let Ok(count @ 1..) = far.read(&mut buffer).await {
                read += count;
                sleep(Duration::from_millis(5)).await;
            }
            read
        });
        // in all, the server waits longer than this
        let mut paced = Paced::new(near, PATIENCE);
        paced.write_all(&vec![0; 500 * 1024]).await.expect("it reads");
        drop(paced);
        assert_eq!(reader.await.expect("no panic"), 500 * 1024);
    }
}
