//! From a connected socket to a connection with a name: TLS, then the id.

use core::task::{Poll, ready};
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use thiserror::Error;

use super::limited::Limited;
use super::session::Session;
use super::shared_socket::polled;
use crate::tls::{ClientTls, ServerTls, is_foreign_protocol, is_tls_failure};
use pool_proto::HandshakeFailure;
use pool_proto::{ConnId, FormatDetector, IdError, IdExchange, IdFormat, IdReader, IdWriter};

/// How a client shakes hands: one for all its connections.
#[derive(Clone, Debug)]
pub struct Connector {
    tls: Option<ClientTls>,
    ids: IdExchange,
    watch: Arc<FormatDetector>,
}

impl Connector {
    /// With these settings.
    #[must_use]
    pub fn new(tls: Option<ClientTls>, ids: IdExchange) -> Self {
        Self { tls, ids, watch: Arc::default() }
    }

    /// The handshake of a new connection.
    ///
    /// # Errors
    ///
    /// [`Failure::Tls`] if rustls makes no connection of the configuration.
    pub fn begin(&self) -> Result<Handshake, Failure> {
        let session = Session::client(self.tls.as_ref()).map_err(Failure::Tls)?;
        let ids = match self.ids {
            IdExchange::None => Ids::None,
            IdExchange::Wire(format) => {
                Ids::Read(IdReader::new(format), format, Arc::clone(&self.watch))
            }
        };
        Ok(Handshake { session, ids })
    }
}

/// How a server shakes hands: one for all its connections.
#[derive(Clone, Debug)]
pub struct Acceptor {
    tls: Option<ServerTls>,
    format: IdFormat,
}

impl Acceptor {
    /// With these settings.
    #[must_use]
    pub const fn new(tls: Option<ServerTls>, format: IdFormat) -> Self {
        Self { tls, format }
    }

    /// The handshake of a new connection, which sends it this id. The connection may be taken only
    /// after it: then the id has left.
    ///
    /// # Errors
    ///
    /// [`Failure::Tls`] if rustls makes no connection of the configuration.
    pub fn begin(&self, id: ConnId) -> Result<Handshake, Failure> {
        let session = Session::server(self.tls.as_ref()).map_err(Failure::Tls)?;
        Ok(Handshake { session, ids: Ids::Write(IdWriter::new(self.format, id)) })
    }
}

/// The handshake of one connection.
pub struct Handshake {
    session: Session,
    ids: Ids,
}

/// What this end does about the id, after TLS.
enum Ids {
    None,
    Read(IdReader, IdFormat, Arc<FormatDetector>),
    Write(IdWriter),
}

/// A connection that is ready, but for being handed to the machine.
pub struct Established {
    pub(super) session: Session,
    /// `None` where this end makes the ids.
    pub(super) id: Option<ConnId>,
    /// What came with the id and belongs to the user.
    pub(super) surplus: Bytes,
}

impl Handshake {
    /// Goes as far as the socket lets it; `Pending` when it has to wait for the socket.
    pub fn advance(&mut self, socket: &mut (impl Read + Write)) -> Poll<Result<(), Failure>> {
        ready!(polled(self.session.handshake(socket))).map_err(Failure::of_tls)?;
        match &mut self.ids {
            Ids::None => Poll::Ready(Ok(())),
            Ids::Read(reader, ..) => read_id(reader, &mut self.session, socket),
            Ids::Write(writer) => {
                while writer.has_remaining() {
                    let written = self.session.write(socket, writer.chunk());
                    let written = ready!(polled(written)).map_err(Failure::of_id)?;
                    if written == 0 {
                        return Poll::Ready(Err(Failure::of_id(ErrorKind::WriteZero.into())));
                    }
                    writer.advance(written);
                }
                polled(self.session.flush(socket)).map_err(Failure::of_id)
            }
        }
    }

    /// What came of it, once [`advance`](Self::advance) has said that it is over.
    ///
    /// # Errors
    ///
    /// [`Failure::Id`] if it is not over, or if the peer writes its ids in another format.
    pub fn finish(self) -> Result<Established, Failure> {
        let Self { session, ids } = self;
        let (id, surplus) = match ids {
            Ids::None | Ids::Write(_) => (None, Bytes::new()),
            Ids::Read(mut reader, format, watch) => {
                let (id, surplus) = (reader.end()?, reader.into_surplus());
                watch.judge(format, id, &surplus)?;
                (Some(id), surplus)
            }
        };
        Ok(Established { session, id, surplus })
    }
}

fn read_id(
    reader: &mut IdReader,
    session: &mut Session,
    socket: &mut (impl Read + Write),
) -> Poll<Result<(), Failure>> {
    let mut chunk = [0; 256];
    let mut socket = Limited::new(socket);
    while reader.poll()?.is_none() {
        match ready!(polled(session.read(&mut socket, &mut chunk))) {
            Ok(0) => {
                reader.end()?;
            }
            Ok(count) => reader.feed(chunk.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                reader.end()?;
            }
            Err(error) => return Poll::Ready(Err(Failure::of_id(error))),
        }
    }
    Poll::Ready(Ok(()))
}

/// Why there is no connection.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Failure {
    /// The transport could not be connected.
    #[error("dialling failed: {0}")]
    Dial(#[source] io::Error),
    /// The operating system refused an option of the socket.
    #[error("setting the socket's options failed: {0}")]
    Options(#[source] io::Error),
    /// Both speak TLS, and did not come to terms.
    #[error("the TLS handshake failed: {0}")]
    Tls(#[source] io::Error),
    /// The peer's first bytes are no TLS.
    #[error("the peer does not speak TLS ({0}); configure TLS on both ends or on neither")]
    NoTls(#[source] io::Error),
    /// The connection broke during the TLS handshake.
    #[error(
        "the transport failed during the TLS handshake: {0}; is the peer full, and does it admit this address?"
    )]
    TlsTransport(#[source] io::Error),
    /// What came is no id.
    #[error("{0}")]
    Id(#[from] IdError),
    /// The connection broke before the id was there.
    #[error("the transport failed during the id exchange: {0}")]
    IdTransport(#[source] io::Error),
}

impl Failure {
    /// What the machine counts it as.
    #[must_use]
    pub const fn kind(&self) -> HandshakeFailure {
        match self {
            Self::Tls(_) | Self::NoTls(_) => HandshakeFailure::Tls,
            Self::Id(_) => HandshakeFailure::Id,
            Self::Dial(_) | Self::Options(_) | Self::TlsTransport(_) | Self::IdTransport(_) => {
                HandshakeFailure::Transport
            }
        }
    }

    fn of_tls(error: io::Error) -> Self {
        if is_foreign_protocol(&error) {
            Self::NoTls(error)
        } else if is_tls_failure(&error) {
            Self::Tls(error)
        } else {
            Self::TlsTransport(error)
        }
    }

    /// In TLS 1.3 a server judges the client's certificate after the client's handshake is over.
    fn of_id(error: io::Error) -> Self {
        if is_tls_failure(&error) { Self::Tls(error) } else { Self::IdTransport(error) }
    }
}
