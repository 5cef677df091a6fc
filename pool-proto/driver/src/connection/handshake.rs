//! From a connected socket to an established connection: TLS, then the id.

use core::task::{Poll, ready};
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use pool_proto::{
    ConnId, FormatDetector, HandshakeFailure, IdError, IdExchange, IdFormat, IdReader, IdWriter,
    Rejected,
};
use thiserror::Error;

use super::limited::Limited;
use super::session::Session;
use super::settings::TlsSettings;
use super::shared_socket::polled;
use crate::tls::{ClientTls, ServerTls, is_foreign_protocol, is_tls_failure};

/// The likely cause for which a client says nothing to a server with TLS, and the remedy.
const SILENT_CLIENT: &str =
    "a client without TLS waits for an id like this: configure TLS on both ends or on neither";

/// The settings of a client's handshakes, shared by all its connections.
#[derive(Clone, Debug)]
pub struct Connector {
    tls: Option<TlsSettings<ClientTls>>,
    ids: IdExchange,
    detector: Arc<FormatDetector>,
}

impl Connector {
    /// A connector with these settings.
    #[must_use]
    pub fn new(tls: Option<ClientTls>, ids: IdExchange) -> Self {
        Self { tls: tls.map(TlsSettings::new), ids, detector: Arc::default() }
    }

    /// Returns the settings of TLS, which can be replaced; `None` for plain TCP.
    #[must_use]
    pub fn tls(&self) -> Option<TlsSettings<ClientTls>> {
        self.tls.clone()
    }

    /// Begins the handshake of a new connection, with the settings of this moment.
    ///
    /// # Errors
    ///
    /// [`Failure::Tls`] if rustls rejects the configuration.
    pub fn begin(&self) -> Result<Handshake, Failure> {
        let tls = self.tls.as_ref().map(TlsSettings::get);
        let session = Session::client(tls.as_ref()).map_err(Failure::Tls)?;
        let ids = match self.ids {
            IdExchange::None => IdStep::None,
            IdExchange::Wire(format) => {
                IdStep::Read(IdReader::new(format), format, Arc::clone(&self.detector))
            }
        };
        Ok(Handshake { session, ids })
    }
}

/// The settings of a server's handshakes, shared by all its connections.
#[derive(Clone, Debug)]
pub struct Acceptor {
    tls: Option<TlsSettings<ServerTls>>,
    format: IdFormat,
}

impl Acceptor {
    /// An acceptor with these settings.
    #[must_use]
    pub fn new(tls: Option<ServerTls>, format: IdFormat) -> Self {
        Self { tls: tls.map(TlsSettings::new), format }
    }

    /// Returns the settings of TLS, which can be replaced; `None` for plain TCP.
    #[must_use]
    pub fn tls(&self) -> Option<TlsSettings<ServerTls>> {
        self.tls.clone()
    }

    /// Begins the handshake of a new connection, with the current settings. It is over after TLS, and
    /// goes on with [`Handshake::send_id`] if the peer is admitted.
    ///
    /// # Errors
    ///
    /// [`Failure::Tls`] if rustls rejects the configuration.
    pub fn begin(&self) -> Result<Handshake, Failure> {
        let tls = self.tls.as_ref().map(TlsSettings::get);
        let session = Session::server(tls.as_ref()).map_err(Failure::Tls)?;
        Ok(Handshake { session, ids: IdStep::Unissued(self.format) })
    }

    /// Returns the likely cause if a client says nothing, and the remedy; empty if the server needs
    /// nothing from it.
    #[must_use]
    pub const fn advice_on_silence(&self) -> &'static str {
        if self.tls.is_some() { SILENT_CLIENT } else { "" }
    }

    /// Returns whether clients speak first: the first byte is a part of their handshakes.
    #[must_use]
    pub const fn expects_first_byte(&self) -> bool {
        self.tls.is_some()
    }
}

/// The handshake of one connection.
pub struct Handshake {
    session: Session,
    ids: IdStep,
}

/// The step after TLS: this end's part in the exchange of the id.
enum IdStep {
    None,
    Read(IdReader, IdFormat, Arc<FormatDetector>),
    /// Server: the peer has no id yet.
    Unissued(IdFormat),
    Write(IdWriter),
}

/// The result of a handshake: a connection that the machine has not taken over yet.
pub struct Established {
    pub(super) session: Session,
    /// `None` where this end issues the ids.
    pub(super) id: Option<ConnId>,
    /// Data of the peer's user that arrived with the id.
    pub(super) surplus: Bytes,
}

impl Handshake {
    /// Returns the likely cause if the peer says nothing, and the remedy; empty if this end needs nothing
    /// from the peer.
    #[must_use]
    pub const fn advice_on_silence(&self) -> &'static str {
        match (&self.ids, self.session.is_tls()) {
            (IdStep::Unissued(_) | IdStep::Write(_) | IdStep::None, false) => "",
            (IdStep::Unissued(_) | IdStep::Write(_), true) => SILENT_CLIENT,
            // A server with TLS waits for a ClientHello.
            (IdStep::Read(..), false) => {
                "a server with TLS waits for TLS like this: configure TLS on both ends or on neither"
            }
            (IdStep::Read(..) | IdStep::None, true) => {
                "the TLS handshake has no answer: is this the address of the server, and does it run?"
            }
        }
    }

    /// Continues as far as the socket allows; `Pending` when it must wait for the socket.
    pub fn advance(&mut self, socket: &mut (impl Read + Write)) -> Poll<Result<(), Failure>> {
        ready!(polled(self.session.handshake(socket))).map_err(Failure::of_tls)?;
        match &mut self.ids {
            IdStep::None | IdStep::Unissued(_) => Poll::Ready(Ok(())),
            IdStep::Read(reader, ..) => read_id(reader, &mut self.session, socket),
            IdStep::Write(writer) => {
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

    /// Returns the SHA-256 fingerprint of the peer's certificate, if TLS is over and has verified one.
    #[must_use]
    pub fn peer_certificate(&self) -> Option<[u8; 32]> {
        self.session.peer_fingerprint().map(|fingerprint| *fingerprint.as_bytes())
    }

    /// Goes on with sending this id. Only a server has an id to send.
    pub fn send_id(&mut self, id: ConnId) {
        if let IdStep::Unissued(format) = self.ids {
            self.ids = IdStep::Write(IdWriter::new(format, id));
        }
    }

    /// Returns the result, once [`advance`](Self::advance) has been ready.
    ///
    /// # Errors
    ///
    /// [`Failure::Id`] if the handshake is not over, or if the peer writes its ids in another format.
    pub fn finish(self) -> Result<Established, Failure> {
        let Self { session, ids } = self;
        let (id, surplus) = match ids {
            IdStep::Unissued(_) => return Err(Failure::of_id(ErrorKind::NotConnected.into())),
            IdStep::None | IdStep::Write(_) => (None, Bytes::new()),
            IdStep::Read(mut reader, format, detector) => {
                let (id, surplus) = (reader.end()?, reader.into_surplus());
                detector.judge(format, id, &surplus)?;
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

/// The reason why a dial or a handshake failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Failure {
    /// The transport could not be connected.
    #[error("dialling failed: {0}")]
    Dial(#[source] io::Error),
    /// The operating system refused an option of the socket.
    #[error("setting the socket's options failed: {0}")]
    Options(#[source] io::Error),
    /// The two ends speak TLS and did not agree, or this end rejected the peer's certificate.
    #[error("the TLS handshake failed: {0}")]
    Tls(#[source] io::Error),
    /// The peer's first bytes are not TLS.
    #[error("the peer does not speak TLS ({0}); configure TLS on both ends or on neither")]
    NoTls(#[source] io::Error),
    /// The connection broke during the TLS handshake.
    #[error(
        "the transport failed during the TLS handshake: {0}; is the peer full, and does it admit \
         this address?"
    )]
    TlsTransport(#[source] io::Error),
    /// The peer sent something other than an id.
    #[error("{0}")]
    Id(#[from] IdError),
    /// The peer was not admitted, although its handshake was over.
    #[error("the peer was turned away: {0}")]
    Rejected(#[from] Rejected),
    /// The connection broke before the id had arrived.
    #[error("the transport failed during the id exchange: {0}")]
    IdTransport(#[source] io::Error),
}

impl Failure {
    /// Returns the kind that the machine counts.
    #[must_use]
    pub const fn kind(&self) -> HandshakeFailure {
        match self {
            Self::Tls(_) | Self::NoTls(_) => HandshakeFailure::Tls,
            Self::Id(_) => HandshakeFailure::Id,
            Self::Dial(_)
            | Self::Options(_)
            | Self::TlsTransport(_)
            | Self::Rejected(_)
            | Self::IdTransport(_) => HandshakeFailure::Transport,
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

    /// In TLS 1.3 a server checks the client's certificate after the client's handshake is over.
    fn of_id(error: io::Error) -> Self {
        if is_tls_failure(&error) { Self::Tls(error) } else { Self::IdTransport(error) }
    }
}
