//! The entry side: takes a connection for every visitor, and sends its id to the exit side.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adapter_tokio::{AnyPool, ConnId, PooledStream, Tokio};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::Failure;
use crate::control::Control;
use crate::framing::{carry, pass, send};
use crate::fresh::Arrivals;
use crate::ledger::{HandOver, Ledger, stamped};
use crate::tasks::{Tasks, lock};

/// The first byte that a visitor receives if it gets a connection.
pub(crate) const SERVED: u8 = b'+';
/// The first byte that a visitor receives if it does not; the reason follows.
pub(crate) const REFUSED: u8 = b'-';

/// The limit for steps that must end soon; to exceed it is a fault of the demo.
const SOON: Duration = Duration::from_secs(5);

/// The exit side's report on a connection: done with it, or the reason why it did not get it.
type Reply = Result<(), String>;

/// The replies that the entry side expects on the control channel, by connection.
#[derive(Clone, Default)]
pub(crate) struct Replies(Arc<Mutex<HashMap<ConnId, oneshot::Sender<Reply>>>>);

impl Replies {
    pub(crate) fn receive(&self, line: &str) {
        let mut words = line.splitn(3, ' ');
        let (verb, id) = (words.next(), words.next());
        let Some(id) = id.and_then(|id| id.parse::<ConnId>().ok()) else {
            return;
        };
        let reply = match verb {
            Some("done") => Ok(()),
            _ => Err(words.next().unwrap_or_default().to_owned()),
        };
        if let Some(waiting) = lock(&self.0).remove(&id) {
            // Fails if the connection was cut off at this end first.
            let _ = waiting.send(reply);
        }
    }

    fn expect(&self, id: ConnId) -> oneshot::Receiver<Reply> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.0).insert(id, sender);
        receiver
    }
}

/// The entry side of a tunnel, at the client or the server pool.
pub(crate) struct Entry<P: AnyPool<Runtime = Tokio>> {
    pub(crate) pool: Arc<Mutex<P>>,
    pub(crate) control: Control,
    pub(crate) replies: Replies,
    pub(crate) ledger: Ledger,
    /// The time that a visitor waits for a connection.
    pub(crate) timeout: Duration,
    pub(crate) calls: AtomicU64,
}

impl<P: AnyPool<Runtime = Tokio>> Entry<P> {
    /// Serves visitors of `listener` with pooled connections.
    pub(crate) fn open(self, tasks: &Tasks, listener: TcpListener) {
        let (entry, jobs) = (Arc::new(self), tasks.clone());
        tasks.service(async move {
            while let Ok((visitor, _)) = listener.accept().await {
                let entry = Arc::clone(&entry);
                jobs.job(async move { entry.serve(visitor).await });
            }
        });
    }

    async fn serve(&self, mut visitor: TcpStream) {
        let pool = lock(&self.pool).clone();
        let (began, answer) = stamped(pool.pool().acquire(self.timeout)).await;
        let stream = match answer {
            Ok(stream) => stream,
            Err(error) => {
                self.ledger.refused(&error);
                return refuse(visitor, &error.to_string()).await;
            }
        };
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let keep = call % 4 != 3;
        let carried = self.carry(stream, &mut visitor, call, keep).await;
        let complete = carried.is_ok();
        let hand_over = HandOver { began, complete };
        self.ledger.open().handed_over.push(hand_over);
        drop(visitor);
        if let Ok((stream, reply)) = carried
            && let Err(error) = put_back(&pool, stream, keep, reply).await
        {
            let mut records = self.ledger.open();
            records.put_errors.push(error.to_string());
        }
    }

    /// Carries the data of one visitor. Returns the connection, and the exit side's reply if that is
    /// still to come.
    async fn carry(
        &self,
        mut stream: PooledStream,
        visitor: &mut TcpStream,
        call: u64,
        keep: bool,
    ) -> Result<(PooledStream, Option<oneshot::Receiver<Reply>>), Failure> {
        let id = stream.id();
        self.ledger.open().entry_ids.push(id);
        visitor.set_nodelay(true)?;
        visitor.write_all(&[SERVED]).await?;
        // The exit side compares this with the id that it knows.
        send(&mut stream, id.to_string().as_bytes()).await?;
        if call.is_multiple_of(2) {
            // Early data: the exit side does not know the id yet, so it cannot have taken the
            // connection.
            pass(visitor, &mut stream).await?;
            self.ledger.open().early += 1;
        }
        let mut reply = self.replies.expect(id);
        let kind = if keep { "keep" } else { "close" };
        self.control.send(&format!("take {id} {kind}"));
        let reply = {
            let mut carry = pin!(carry(&mut stream, visitor));
            tokio::select! {
                biased;
                carried = &mut carry => {
                    carried?;
                    Some(reply)
                }
                done = &mut reply => {
                    done??;
                    carry.await?;
                    None
                }
            }
        };
        Ok((stream, reply))
    }
}

/// Puts a connection back, or shuts it down. This end puts it back only after the exit side has: a
/// put discards data that has arrived before it.
async fn put_back<P: AnyPool<Runtime = Tokio>>(
    pool: &P,
    mut stream: PooledStream,
    keep: bool,
    reply: Option<oneshot::Receiver<Reply>>,
) -> Result<(), Failure> {
    if !keep {
        return Ok(stream.shutdown().await?);
    }
    if let Some(reply) = reply {
        timeout(SOON, reply).await???;
    }
    Ok(pool.pool().put(stream)?)
}

/// Serves each visitor of `listener` with a new connection: the baseline.
pub(crate) fn open_fresh(
    tasks: &Tasks,
    listener: TcpListener,
    control: Control,
    arrivals: Arrivals,
    ledger: Ledger,
) {
    let jobs = tasks.clone();
    tasks.service(async move {
        let mut call = 0u64;
        while let Ok((mut visitor, _)) = listener.accept().await {
            call += 1;
            let arrival = arrivals.expect(call);
            control.send(&format!("dial {call}"));
            let ledger = ledger.clone();
            jobs.job(async move {
                let served = async {
                    visitor.set_nodelay(true)?;
                    let mut stream = timeout(SOON, arrival).await??;
                    visitor.write_all(&[SERVED]).await?;
                    carry(&mut stream, &mut visitor).await?;
                    stream.shutdown().await?;
                    Ok::<_, Failure>(())
                };
                if let Err(error) = served.await {
                    ledger.open().faults.push(format!("fresh: {error}"));
                }
            });
        }
    });
}

/// Sends a visitor the reason why it gets no connection. Data from the visitor is read, because
/// closing a socket with unread data sends an RST, which may destroy the answer.
async fn refuse(mut visitor: TcpStream, why: &str) {
    let answer = async {
        visitor.write_all(&[REFUSED]).await?;
        visitor.write_all(why.as_bytes()).await?;
        visitor.shutdown().await?;
        tokio::io::copy(&mut visitor, &mut tokio::io::sink()).await
    };
    // Fails if the visitor has left.
    let _ = timeout(SOON, answer).await;
}
