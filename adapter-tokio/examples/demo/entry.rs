//! The entry side: takes a connection for every visitor, and tells its id to the exit side.

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
use crate::control::Line;
use crate::fresh::Arrivals;
use crate::ledger::{HandOver, Ledger, stamped};
use crate::tasks::{Tasks, lock};
use crate::tunnel::{carry, pass, send};

/// The first byte that a visitor receives: it has been given a connection …
pub(crate) const WELCOME: u8 = b'+';
/// … or none, and the reason follows.
pub(crate) const SORRY: u8 = b'-';

/// For what must come soon, and whose absence is a fault of the demo.
const SOON: Duration = Duration::from_secs(5);

/// How the exit side is done with a connection: it has given it back, or never had it.
type Reply = Result<(), String>;

/// What the entry side hears on the control channel.
#[derive(Clone, Default)]
pub(crate) struct Replies(Arc<Mutex<HashMap<ConnId, oneshot::Sender<Reply>>>>);

impl Replies {
    pub(crate) fn hear(&self, line: &str) {
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
            // Nobody waits for the news about a connection that was cut off here first.
            let _ = waiting.send(reply);
        }
    }

    fn expect(&self, id: ConnId) -> oneshot::Receiver<Reply> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.0).insert(id, sender);
        receiver
    }
}

/// The entry side of a tunnel, at whichever pool.
pub(crate) struct Entry<P: AnyPool<Runtime = Tokio>> {
    pub(crate) pool: Arc<Mutex<P>>,
    pub(crate) line: Line,
    pub(crate) replies: Replies,
    pub(crate) ledger: Ledger,
    /// How long a visitor waits for a connection.
    pub(crate) timeout: Duration,
    pub(crate) calls: AtomicU64,
}

impl<P: AnyPool<Runtime = Tokio>> Entry<P> {
    /// Serves whoever comes to `listener`, with pooled connections.
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
            && let Err(error) = give_back(&pool, stream, keep, reply).await
        {
            let mut records = self.ledger.open();
            records.not_given_back.push(error.to_string());
        }
    }

    /// Carries one visitor; gives the connection, and the exit side's word unless it has come.
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
        visitor.write_all(&[WELCOME]).await?;
        // So that the exit side can compare: this is what the entry side calls the connection.
        send(&mut stream, id.to_string().as_bytes()).await?;
        if call.is_multiple_of(2) {
            // Early data: the exit side cannot have taken a connection whose id it does not know.
            pass(visitor, &mut stream).await?;
            self.ledger.open().early += 1;
        }
        let mut reply = self.replies.expect(id);
        let kind = if keep { "keep" } else { "close" };
        self.line.tell(&format!("take {id} {kind}"));
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

/// Puts a connection back, or closes it in good order. Before it is put back here, the exit side
/// must have put it back there: what arrives before that is thrown away.
async fn give_back<P: AnyPool<Runtime = Tokio>>(
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

/// Serves whoever comes to `listener` with a connection that is made for him: the baseline.
pub(crate) fn open_fresh(
    tasks: &Tasks,
    listener: TcpListener,
    line: Line,
    arrivals: Arrivals,
    ledger: Ledger,
) {
    let jobs = tasks.clone();
    tasks.service(async move {
        let mut call = 0u64;
        while let Ok((mut visitor, _)) = listener.accept().await {
            call += 1;
            let arrival = arrivals.expect(call);
            line.tell(&format!("dial {call}"));
            let ledger = ledger.clone();
            jobs.job(async move {
                let served = async {
                    visitor.set_nodelay(true)?;
                    let mut stream = timeout(SOON, arrival).await??;
                    visitor.write_all(&[WELCOME]).await?;
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

/// Tells a visitor why there is no connection. What it sends meanwhile is read, because closing a
/// socket with unread data would take the answer back (RST).
async fn refuse(mut visitor: TcpStream, why: &str) {
    let answer = async {
        visitor.write_all(&[SORRY]).await?;
        visitor.write_all(why.as_bytes()).await?;
        visitor.shutdown().await?;
        tokio::io::copy(&mut visitor, &mut tokio::io::sink()).await
    };
    // A visitor that has left does not want to know.
    let _ = timeout(SOON, answer).await;
}
