//! A WebSocket's bytes on their way to and from the engine: counted, and ended when the session is.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::wire::Wire;

/// A stream that knows its session.
pub(super) struct Wired<S> {
    pub(super) stream: S,
    pub(super) wire: Arc<Wire>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Wired<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.wire.is_over_for_reader(cx.waker()) {
            // As if the client had gone.
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.wire.heard();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> Wired<S> {
    /// What has begun is written as far as the kernel takes it; once the session is over, nobody waits for it to take more.
    fn unless_over<T>(&self, poll: Poll<io::Result<T>>, cx: &Context<'_>) -> Poll<io::Result<T>> {
        if poll.is_pending() && self.wire.is_over_for_writer(cx.waker()) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wired<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(bytes)) = written {
            self.wire.wrote(bytes);
        }
        self.unless_over(written, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.unless_over(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.unless_over(shut, cx)
    }
}
