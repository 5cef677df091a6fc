//! The exit side: takes the connections whose ids it hears, and connects them to the service.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adapter_tokio::{AnyPool, ClientTls, ConnId, Tokio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::Failure;
use crate::control::Line;
use crate::fresh;
use crate::ledger::{HandOver, Ledger, stamped};
use crate::payload::Checker;
use crate::tasks::{Tasks, lock};
use crate::tunnel::{carry, receive};

/// How long a connection is waited for whose id was heard: under a delay the id may be faster.
const PATIENCE: Duration = Duration::from_secs(2);

/// The exit side of a tunnel, at whichever pool.
pub(crate) struct Exit<P: AnyPool<Runtime = Tokio>> {
    pub(crate) pool: Arc<Mutex<P>>,
    pub(crate) service: SocketAddr,
    pub(crate) ledger: Ledger,
    /// For the baseline: where fresh connections are dialled to, and how.
    pub(crate) fresh: (SocketAddr, ClientTls),
}

impl<P: AnyPool<Runtime = Tokio>> Exit<P> {
    /// One line of the control channel; `line` takes the answer.
    pub(crate) fn hear(self: &Arc<Self>, tasks: &Tasks, line: &Line, told: &str) {
        let (exit, line) = (Arc::clone(self), line.clone());
        let mut words = told.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("take"), Some(id), Some(kind)) => {
                let (id, keep) = (id.parse::<ConnId>(), kind == "keep");
                tasks.job(async move {
                    let Ok(id) = id else { return };
                    match exit.take(id, keep).await {
                        Ok(()) => line.tell(&format!("done {id}")),
                        Err(error) => line.tell(&format!("lost {id} {error}")),
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
            _ => self.ledger.open().faults.push(format!("heard {told:?}")),
        }
    }

    async fn take(&self, id: ConnId, keep: bool) -> Result<(), Failure> {
        let pool = lock(&self.pool).clone();
        let taken = stamped(pool.pool().acquire_by_id(id, PATIENCE));
        let ((began, taken), service) = tokio::join!(taken, TcpStream::connect(self.service));
        let (mut stream, mut service) = (taken?, service?);
        service.set_nodelay(true)?;
        match receive(&mut stream).await {
            Ok(name) if name == id.to_string().as_bytes() && stream.id() == id => {
                self.ledger.open().exit_ids.push(id);
            }
            Ok(name) => {
                self.ledger.open().misnamed += 1;
                return Err(format!("{id} is called {name:?} at the other end").into());
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

/// The service behind the tunnel: sends back what it receives, having checked every byte.
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
        // Cut off before it had begun; whoever sent it counts that.
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
