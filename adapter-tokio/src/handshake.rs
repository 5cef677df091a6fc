//! From a TCP stream to a connection with a name: TLS, then the id.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use pool_proto::tls::{ClientTls, ServerTls};
use pool_proto::{
    ConnId, FormatWatch, HandshakeFailure, IdError, IdExchange, IdFormat, IdReader, IdWriter,
};
use rustls::InvalidMessage;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::connection::Layer;
use crate::socket::{Link, Socket};

/// A connection that is ready, but for being handed to the machine.
pub(crate) struct Shaken {
    pub(crate) layer: Layer,
    /// `None` where this end makes the ids.
    pub(crate) id: Option<ConnId>,
    /// What came with the id and belongs to the user.
    pub(crate) surplus: Bytes,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("dialling failed: {0}")]
    Dial(#[source] io::Error),
    #[error("setting the socket's options failed: {0}")]
    Options(#[source] io::Error),
    #[error("the TLS handshake failed: {0}")]
    Tls(#[source] io::Error),
    #[error("the peer does not speak TLS ({0}); configure TLS on both ends or on neither")]
    NoTls(#[source] io::Error),
    #[error(
        "the transport failed during the TLS handshake: {0}; is the peer full, and does it admit this address?"
    )]
    TlsTransport(#[source] io::Error),
    #[error("{0}")]
    Id(#[from] IdError),
    #[error("the transport failed during the id exchange: {0}")]
    IdTransport(#[source] io::Error),
}

impl Failure {
    /// What the machine counts it as.
    pub(crate) const fn kind(&self) -> HandshakeFailure {
        match self {
            Self::Tls(_) | Self::NoTls(_) => HandshakeFailure::Tls,
            Self::Id(_) => HandshakeFailure::Id,
            Self::Dial(_) | Self::Options(_) | Self::TlsTransport(_) | Self::IdTransport(_) => {
                HandshakeFailure::Transport
            }
        }
    }

    fn of_tls(error: io::Error) -> Self {
        match by_rustls(&error) {
            Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
                Self::NoTls(error)
            }
            Some(_) => Self::Tls(error),
            None => Self::TlsTransport(error),
        }
    }

    /// In TLS 1.3 a server judges the client's certificate after the client's handshake is over.
    fn of_id(error: io::Error) -> Self {
        if by_rustls(&error).is_some() { Self::Tls(error) } else { Self::IdTransport(error) }
    }
}

fn by_rustls(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// The client's side.
pub(crate) async fn connect(
    link: Arc<Link>,
    tls: Option<&ClientTls>,
    ids: IdExchange,
    watch: &FormatWatch,
) -> Result<Shaken, Failure> {
    let socket = Socket::new(link);
    let mut layer = match tls {
        None => Layer::Plain(socket),
        Some(tls) => {
            let connector = TlsConnector::from(Arc::clone(tls.config()));
            let stream = connector.connect(tls.server_name().clone(), socket).await;
            Layer::Tls(Box::new(TlsStream::Client(stream.map_err(Failure::of_tls)?)))
        }
    };
    let (id, surplus) = match ids {
        IdExchange::None => (None, Bytes::new()),
        IdExchange::Wire(format) => {
            let (id, surplus) = read_id(&mut layer, format, watch).await?;
            (Some(id), surplus)
        }
    };
    Ok(Shaken { layer, id, surplus })
}

async fn read_id(
    stream: &mut (impl AsyncRead + Unpin),
    format: IdFormat,
    watch: &FormatWatch,
) -> Result<(ConnId, Bytes), Failure> {
    let mut reader = IdReader::new(format);
    loop {
        if let Some(id) = reader.poll()? {
            let surplus = reader.into_surplus();
            watch.judge(format, id, &surplus)?;
            return Ok((id, surplus));
        }
        let read = stream.read_buf(reader.buffer_mut()).await;
        match read {
            Ok(0) => {
                reader.end()?;
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                reader.end()?;
            }
            Err(error) => return Err(Failure::of_id(error)),
        }
    }
}

/// The server's side. The connection may be taken only after this: then the id has left.
pub(crate) async fn accept(
    link: Arc<Link>,
    tls: Option<&ServerTls>,
    format: IdFormat,
    id: ConnId,
) -> Result<Shaken, Failure> {
    let socket = Socket::new(link);
    let mut layer = match tls {
        None => Layer::Plain(socket),
        Some(tls) => {
            let acceptor = TlsAcceptor::from(Arc::clone(tls.config()));
            let stream = acceptor.accept(socket).await;
            Layer::Tls(Box::new(TlsStream::Server(stream.map_err(Failure::of_tls)?)))
        }
    };
    let mut writer = IdWriter::new(format, id);
    let written = async {
        layer.write_all_buf(&mut writer).await?;
        layer.flush().await
    };
    written.await.map_err(Failure::of_id)?;
    Ok(Shaken { layer, id: None, surplus: Bytes::new() })
}
