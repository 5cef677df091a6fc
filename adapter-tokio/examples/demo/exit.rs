//! The exit side: takes the connections whose ids it receives, and connects them to the service.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adapter_tokio::{AnyPool, ClientTls, ConnId, Tokio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::Failure;
use crate::control::Control;
use crate::framing::{carry, receive};
use crate::fresh;
use crate::ledger::{HandOver, Ledger, stamped};
use crate::payload::Checker;
use crate::tasks::{Tasks, lock};

/// The timeout of an acquire by id. On a delayed path, the id may arrive before its connection is
/// ready.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// The exit side of a tunnel, at the client or the server pool.
pub(crate) struct Exit<P: AnyPool<Runtime = Tokio>> {
    pub(crate) pool: Arc<Mutex<P>>,
    pub(crate) service: SocketAddr,
    pub(crate) ledger: Ledger,
    /// For the baseline: the address to which fresh connections are dialled, and their TLS settings.
    pub(crate) fresh: (SocketAddr, ClientTls),
}

impl<P: AnyPool<Runtime = Tokio>> Exit<P> {
    /// Handles one line of the control channel; answers go to `control`.
    pub(crate) fn receive(self: &Arc<Self>, tasks: &Tasks, control: &Control, line: &str) {
        let (exit, control) = (Arc::clone(self), control.clone());
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("take"), Some(id), Some(kind)) => {
                let (id, keep) = (id.parse::<ConnId>(), kind == "keep");
                tasks.job(async move {
                    let Ok(id) = id else { return };
                    match exit.take(id, keep).await {
                        Ok(()) => control.send(&format!("done {id}")),
                        Err(error) => control.send(&format!("lost {id} {error}")),
                    }
                });
            }
            (Some("dial"), Some(call), None) => {
                let call = call.parse::<u64>();
                tasks.job(async move {
                    let Ok(call) = call else { return };
                    if let Err(error) = exit.dial(call).await {
                        exit.ledger.open().faults.push(format!("fresh: {error}"));
                    }
                });
            }
            _ => self.ledger.open().faults.push(format!("unknown line {line:?}")),
        }
    }

    async fn take(&self, id: ConnId, keep: bool) -> Result<(), Failure> {
        let pool = lock(&self.pool).clone();
        let taken = stamped(pool.pool().acquire_by_id(id, ACQUIRE_TIMEOUT));
        let ((began, taken), service) = tokio::join!(taken, TcpStream::connect(self.service));
        let (mut stream, mut service) = (taken?, service?);
        service.set_nodelay(true)?;
        match receive(&mut stream).await {
            Ok(name) if name == id.to_string().as_bytes() && stream.id() == id => {
                self.ledger.open().exit_ids.push(id);
            }
            Ok(name) => {
                self.ledger.open().id_mismatches += 1;
                return Err(format!("{id} has the id {name:?} at the other end").into());
            }
            Err(error) => {
                let complete = false;
                let hand_over = HandOver { began, complete };
                self.ledger.open().empty_at_exit.push(hand_over);
                return Err(error.into());
            }
        }
        carry(&mut stream, &mut service).await?;
        if keep {
            pool.pool().put(stream)?;
        } else {
            stream.shutdown().await?;
        }
        Ok(())
    }

    async fn dial(&self, call: u64) -> Result<(), Failure> {
        let (address, tls) = &self.fresh;
        let dialled = fresh::dial(*address, tls, call);
        let (dialled, service) = tokio::join!(dialled, TcpStream::connect(self.service));
        let (mut stream, mut service) = (dialled?, service?);
        service.set_nodelay(true)?;
        carry(&mut stream, &mut service).await?;
        stream.shutdown().await?;
        Ok(())
    }
}

/// The service behind the tunnel: checks every byte that it receives, and sends it back.
pub(crate) fn open_service(tasks: &Tasks, listener: TcpListener, ledger: &Ledger) {
    let (jobs, ledger) = (tasks.clone(), ledger.clone());
    tasks.service(async move {
        while let Ok((mut caller, _)) = listener.accept().await {
            let ledger = ledger.clone();
            jobs.job(async move {
                let echoed = echo(&mut caller, &ledger).await;
                if let Err(error) = echoed {
                    ledger.open().faults.push(format!("service: {error}"));
                }
            });
        }
    });
}

async fn echo(caller: &mut TcpStream, ledger: &Ledger) -> Result<(), Failure> {
    caller.set_nodelay(true)?;
    let mut header = [0; 12];
    if caller.read_exact(&mut header).await.is_err() {
        // Cut off before it had begun; the visitor counts it.
        return Ok(());
    }
    let mut checker = Checker::from_header(&header)?;
    let mut piece = header.to_vec();
    loop {
        checker.check(&piece)?;
        if caller.write_all(&piece).await.is_err() {
            return Ok(());
        }
        piece.resize(16 * 1024, 0);
        let count = caller.read(&mut piece).await.unwrap_or(0);
        piece.truncate(count);
        if count == 0 {
            ledger.open().service_bytes += u64::try_from(checker.seen())?;
            return Ok(());
        }
    }
}
