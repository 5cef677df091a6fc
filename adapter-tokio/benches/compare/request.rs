//! Row 13: a whole request over a fresh connection, beside the same exchange over a pair that is open.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adapter_tokio::{ConnId, PooledStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::Outcome;
use crate::ends::{self, Bare, Pools, SOON, Tls, bare_ends, runtime, with_bare};
use crate::exchange::Stream;
use crate::mode::Mode;
use crate::report::{Goal, Limit, Report, Row};
use crate::rounds::{Contestant, Samples, alternate};
use crate::system::now;

const RAW: &str = "a raw pair that is open";
const BY_HAND: &str = "open pairs, a queue and a map";

const OVERHEAD: &str = "overhead";
const OVERHEAD_BY_HAND: &str = "overhead by hand, with a queue and a map";

/// The most that the way through the pool may add, in microseconds.
const MOST: f64 = 40.0;

const BODY: usize = 1024;

/// Connections in the pool, which is full when a request begins.
const STOCK: u32 = 16;

pub(crate) fn row(mode: Mode, report: &mut Report) -> Outcome {
    let runtime = runtime(2)?;
    for is_tls in [false, true] {
        let tls = Tls::new(is_tls)?;
        let times = mode.pick(4, 20, 20, 20);
        let pooled = runtime.block_on(Pooled::new(tls.as_ref()))?;
        let mut pooled_requests = pooled.requests;
        let (near, far) = runtime.block_on(bare_ends(1, tls.as_ref()))?;
        let (Some(near), Some(far)) = (near.into_iter().next(), far.into_iter().next()) else {
            return Err("no connection".into());
        };
        runtime.spawn(async move {
            with_bare!(far, |far| {
                let mut far = far;
                while answer(&mut far).await.is_ok() {}
            });
        });
        let mut near = near;
        let mut by_hand = runtime.block_on(ByHand::new())?;
        let pools = &pooled.pools;
        let contestants = vec![
            Contestant::new("ours", || {
                runtime.block_on(async {
                    let mut took = Vec::new();
                    for _ in 0..times {
                        // Nothing is dialled while a request is timed.
                        pools.client.wait_ready(STOCK, SOON).await?;
                        pools.server.wait_ready(STOCK, SOON).await?;
                        sleep(PAUSE).await;
                        took.push(pooled_requests.request(pools).await?);
                    }
                    Ok(middle(took))
                })
            }),
            Contestant::new(RAW, || {
                runtime.block_on(async {
                    let mut took = Vec::new();
                    for _ in 0..times {
                        sleep(PAUSE).await;
                        let begun = now();
                        with_bare!(&mut near, |near| ask(near).await?);
                        took.push((now() - begun) as f64 / 1e3);
                    }
                    Ok(middle(took))
                })
            }),
            Contestant::new(BY_HAND, || {
                runtime.block_on(async {
                    by_hand.fill(times, tls.as_ref()).await?;
                    let mut took = Vec::new();
                    for _ in 0..times {
                        sleep(PAUSE).await;
                        took.push(by_hand.request().await?);
                    }
                    Ok(middle(took))
                })
            }),
        ];
        let mut samples = alternate(mode.pick(1, 7, 25, 101), contestants)?;
        let [ours, raw, by_hand] = &samples[..] else { return Err("three were measured".into()) };
        let more = |name: &str, than: &Samples| Samples {
            name: name.into(),
            values: than.values.iter().zip(&raw.values).map(|(than, raw)| than - raw).collect(),
        };
        let more = [more(OVERHEAD, ours), more(OVERHEAD_BY_HAND, by_hand)];
        samples.extend(more);
        report.row(&Row {
            number: "13",
            what: format!("a whole request, {}", ends::wire(tls.as_ref())),
            unit: "µs",
            samples,
            goals: vec![Goal::figure(Limit::AtMost(MOST)).of(OVERHEAD).floor(OVERHEAD_BY_HAND)],
        });
        runtime.block_on(pooled.pools.close());
    }
    Ok(())
}

/// Requests one after the other, for a profiler: with the dial that replaces each connection.
pub(crate) async fn repeat(tls: Option<&Tls>, times: u32) -> Outcome {
    let mut pooled = Pooled::new(tls).await?;
    for _ in 0..times {
        pooled.pools.client.wait_ready(STOCK, SOON).await?;
        pooled.pools.server.wait_ready(STOCK, SOON).await?;
        pooled.requests.request(&pooled.pools).await?;
    }
    pooled.pools.close().await;
    Ok(())
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Both begin with all tasks asleep.
const PAUSE: Duration = Duration::from_millis(2);

async fn ask(stream: &mut impl Stream) -> Outcome {
    let mut body = [3; BODY];
    stream.write_all(&body).await?;
    stream.flush().await?;
    stream.read_exact(&mut body).await?;
    Ok(())
}

async fn answer(stream: &mut impl Stream) -> Outcome {
    let mut body = [0; BODY];
    stream.read_exact(&mut body).await?;
    stream.write_all(&body).await?;
    Ok(stream.flush().await?)
}

/// Two pools, a control channel, and an agent that answers requests.
struct Pooled {
    pools: Pools,
    requests: Requests,
}

/// The same without pools: pairs that are open, a queue of them at one end, and a map by their ids at the other.
struct ByHand {
    control: TcpStream,
    queue: VecDeque<(u32, Bare)>,
    map: Arc<Mutex<HashMap<u32, Bare>>>,
    /// Streams whose exchange is over: dropped after the time has been taken.
    used: mpsc::UnboundedReceiver<Bare>,
}

impl ByHand {
    async fn new() -> Outcome<Self> {
        let (control, mut agent) = control_channel().await?;
        let map = Arc::new(Mutex::new(HashMap::new()));
        let streams = Arc::clone(&map);
        let (done, used) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let mut id = [0; 4];
                agent.read_exact(&mut id).await?;
                let stream = locked(&streams).remove(&u32::from_be_bytes(id));
                let mut stream: Bare = stream.ok_or("an id of no stream")?;
                with_bare!(&mut stream, |stream| answer(stream).await?);
                // Fails when the row is over.
                let _ = done.send(stream);
            }
            #[expect(unreachable_code, reason = "tells the type")]
            Outcome::Ok(())
        });
        Ok(Self { control, queue: VecDeque::new(), map, used })
    }

    /// Opens pairs, named by the port of the dialling end.
    async fn fill(&mut self, count: u32, tls: Option<&Tls>) -> Outcome {
        let (near, far) = bare_ends(count, tls).await?;
        for stream in near {
            let id = stream.tcp().local_addr()?.port().into();
            locked(&self.map).insert(id, stream);
        }
        for stream in far {
            self.queue.push_back((stream.tcp().peer_addr()?.port().into(), stream));
        }
        Ok(())
    }

    /// As [`Requests::request`].
    async fn request(&mut self) -> Outcome<f64> {
        let begun = now();
        let (id, mut stream) = self.queue.pop_front().ok_or("no pair is left")?;
        self.control.write_all(&id.to_be_bytes()).await?;
        with_bare!(&mut stream, |stream| ask(stream).await?);
        drop(stream);
        let took = (now() - begun) as f64 / 1e3;
        drop(self.used.recv().await);
        Ok(took)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Both ends of a control channel.
async fn control_channel() -> Outcome<(TcpStream, TcpStream)> {
    let listener = ends::listener()?;
    let control = TcpStream::connect(listener.local_addr()?).await?;
    let (agent, _) = listener.accept().await?;
    for end in [&control, &agent] {
        end.set_nodelay(true)?;
    }
    Ok((control, agent))
}

struct Requests {
    control: TcpStream,
    /// Streams whose exchange is over: dropped after the time has been taken.
    used: mpsc::UnboundedReceiver<PooledStream>,
}

impl Pooled {
    async fn new(tls: Option<&Tls>) -> Outcome<Self> {
        let pools = Pools::new(STOCK, tls).await?;
        let (control, mut agent) = control_channel().await?;
        let client = pools.client.clone();
        let (done, used) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let mut id = [0; 4];
                agent.read_exact(&mut id).await?;
                let mut stream = client.acquire_by_id(ConnId::from_bytes(id), SOON).await?;
                answer(&mut stream).await?;
                // Fails when the row is over.
                let _ = done.send(stream);
            }
            #[expect(unreachable_code, reason = "tells the type")]
            Outcome::Ok(())
        });
        Ok(Self { pools, requests: Requests { control, used } })
    }
}

impl Requests {
    /// Take, id over the control channel, take by id, 1 KiB there and back, drop. Returns microseconds.
    async fn request(&mut self, pools: &Pools) -> Outcome<f64> {
        let begun = now();
        let mut stream = pools.server.acquire(SOON).await?;
        self.control.write_all(&stream.id().to_bytes()).await?;
        ask(&mut stream).await?;
        drop(stream);
        let took = (now() - begun) as f64 / 1e3;
        drop(self.used.recv().await);
        Ok(took)
    }
}
