//! A connection as the pool holds it: TCP, with or without TLS, and what arrived early.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use pool_proto::Finding;
use pool_proto::shell::Watch;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

use crate::socket::{Link, Socket};

/// What the machine's `C` is here: a pointer, because it is moved through queues.
pub(crate) type Pooled = Box<Connection>;

/// Data kept for the next holder, at the most; what is beyond stays in the kernel, where it holds
/// the peer back. One full TLS record. (Behind that much, the end of a connection is seen only by
/// its holder.)
const EARLY_LIMIT: usize = 16 * 1024;

/// Data thrown away when a connection is put back, at the most: what can have arrived by then on an
/// ordinary path, and little enough to read in a moment. With more, the connection is closed.
const DRAIN_LIMIT: usize = 256 * 1024;

/// Bytes read from the socket in one look, at the most. TLS can consume records without giving data
/// (tickets, key updates), which the limits above do not see; a peer that sends more of them than
/// there may be data wants to keep us busy, and is cut off.
const PULL_LIMIT: usize = 2 * DRAIN_LIMIT;

#[derive(Debug)]
pub(crate) enum Layer {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

impl Layer {
    fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }

    fn socket_mut(&mut self) -> &mut Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => tls.get_mut().0,
        }
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        self.socket().link()
    }
}

pub(crate) struct Connection {
    pub(crate) layer: Layer,
    /// Arrived before there was a holder.
    early: BytesMut,
    watch: Arc<Watch<Pooled>>,
    /// Whether a peer that has spoken has taken the connection. Otherwise it may speak first, and
    /// its data does not make a close less of a close.
    peer_claims: bool,
    /// Its holder has closed its own half.
    pub(crate) shut: bool,
}

impl Connection {
    pub(crate) fn new(
        layer: Layer,
        early: Bytes,
        watch: Arc<Watch<Pooled>>,
        peer_claims: bool,
    ) -> Pooled {
        Box::new(Self { layer, early: early.into(), watch, peer_claims, shut: false })
    }

    /// Closes it in good order: TLS says goodbye before TCP does, if the kernel takes it at once.
    pub(crate) fn close(mut self) {
        let mut context = Context::from_waker(Waker::noop());
        let shutdown = poll_fn(|cx| pin!(&mut self.layer).poll_shutdown(cx));
        // Outside tokio's cooperative budget, which is for one connection and not for a whole pool.
        // A connection that is being closed has nobody left to tell of an error.
        let _ = pin!(tokio::task::unconstrained(shutdown)).poll(&mut context);
    }

    /// Reads all that has arrived, whether the reactor has heard of it or not, until nothing is
    /// left, and leaves the watch with the reactor. `keep` says whether to go on.
    fn pull(&mut self, mut keep: impl FnMut(&mut BytesMut, &[u8]) -> bool) -> Pulled {
        let waker = Waker::from(Arc::clone(&self.watch));
        let mut context = Context::from_waker(&waker);
        let mut chunk = [0; 4096];
        // Before the look: what wakes it during the look must not be lost.
        self.watch.arm();
        self.layer.socket_mut().set_eager(PULL_LIMIT);
        let pulled = loop {
            let mut buffer = ReadBuf::new(&mut chunk);
            match pin!(&mut self.layer).poll_read(&mut context, &mut buffer) {
                Poll::Pending => break Pulled::All,
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => break Pulled::End,
                Poll::Ready(Ok(())) if keep(&mut self.early, buffer.filled()) => {}
                Poll::Ready(Ok(())) => {
                    self.watch.disarm();
                    break Pulled::Enough;
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    break Pulled::End;
                }
                Poll::Ready(Err(_)) => break Pulled::Failed,
            }
        };
        self.layer.socket_mut().set_eager(0);
        pulled
    }
}

enum Pulled {
    /// Nothing is left, and the watch is armed.
    All,
    Enough,
    End,
    Failed,
}

impl pool_proto::shell::Connection for Pooled {
    fn check(&mut self) -> Finding {
        match self.layer.socket().peek() {
            // A reset reports itself once: whoever reads next would see an ordinary end.
            Finding::Closed => return Finding::Closed,
            Finding::Quiet if self.watch.is_armed() => {
                return if self.early.is_empty() { Finding::Quiet } else { Finding::Data };
            }
            Finding::Quiet | Finding::Data => {}
        }
        if self.early.len() >= EARLY_LIMIT {
            return Finding::Data;
        }
        let pulled = self.pull(|early, data| {
            early.extend_from_slice(data);
            early.len() < EARLY_LIMIT
        });
        match pulled {
            Pulled::Failed => Finding::Closed,
            // Where data is no claim, it must not hide the end that follows it.
            Pulled::End if !self.peer_claims => Finding::Closed,
            // The peer may have sent its request and closed its half: the data is to be delivered.
            _ if !self.early.is_empty() => Finding::Data,
            Pulled::End => Finding::Closed,
            Pulled::All | Pulled::Enough => Finding::Quiet,
        }
    }

    fn drain(&mut self) -> Finding {
        if self.shut {
            return Finding::Closed;
        }
        // What TLS has not been able to send would go out with the next use.
        let mut context = Context::from_waker(Waker::noop());
        match pin!(&mut self.layer).poll_flush(&mut context) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Finding::Closed,
            Poll::Pending => return Finding::Data,
        }
        let mut drained = self.early.len();
        self.early = BytesMut::new();
        let pulled = self.pull(|_, data| {
            drained += data.len();
            drained <= DRAIN_LIMIT
        });
        match pulled {
            Pulled::All => Finding::Quiet,
            Pulled::Enough => Finding::Data,
            Pulled::End | Pulled::Failed => Finding::Closed,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.early.is_empty() {
            let count = self.early.len().min(buffer.remaining());
            buffer.put_slice(&self.early.split_to(count));
            if self.early.is_empty() {
                self.early = BytesMut::new();
            }
            return Poll::Ready(Ok(()));
        }
        self.watch.disarm();
        pin!(&mut self.layer).poll_read(cx, buffer)
    }
}

impl AsyncRead for Layer {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Layer {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, data),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, data),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, data),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, data),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
