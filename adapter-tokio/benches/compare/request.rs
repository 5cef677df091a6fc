//! Row 13: a whole request over a fresh connection, beside the same exchange over a pair that is open.

use std::time::Duration;

use adapter_tokio::{ConnId, PooledStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::Outcome;
use crate::ends::{self, Pools, SOON, Tls, bare_ends, runtime, with_bare};
use crate::exchange::Stream;
use crate::mode::Mode;
use crate::report::{Goal, Limit, Report, Row};
use crate::rounds::{Contestant, Samples, alternate};
use crate::system::now;

const RAW: &str = "a raw pair that is open";

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
        ];
        let mut samples = alternate(mode.pick(1, 7, 25, 101), contestants)?;
        let [ours, raw] = &samples[..] else { return Err("two were measured".into()) };
        let more = ours.values.iter().zip(&raw.values).map(|(ours, raw)| ours - raw).collect();
        samples.push(Samples { name: "overhead".into(), values: more });
        report.row(&Row {
            number: "13",
            what: format!("a whole request, {}", ends::wire(tls.as_ref())),
            unit: "µs",
            samples,
            goals: vec![Goal::figure(Limit::AtMost(MOST)).of("overhead")],
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

struct Requests {
    control: TcpStream,
    /// Streams whose exchange is over: dropped after the time has been taken.
    used: mpsc::UnboundedReceiver<PooledStream>,
}

impl Pooled {
    async fn new(tls: Option<&Tls>) -> Outcome<Self> {
        let pools = Pools::new(STOCK, tls).await?;
        let listener = ends::listener()?;
        let control = TcpStream::connect(listener.local_addr()?).await?;
        let (mut agent, _) = listener.accept().await?;
        for end in [&control, &agent] {
            end.set_nodelay(true)?;
        }
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
