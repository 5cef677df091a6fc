//! The adapter of tokio, on a runtime with two workers.

use adapter_tokio::PooledStream;
use pool_testkit::measure::timed;
use tokio::runtime::Runtime;

use super::{Adapter, CHUNK};
use crate::Outcome;
use crate::ends::{self, Pools, SOON, Tls};
use crate::exchange::Ends;

pub(super) struct OnTokio {
    runtime: Runtime,
    pools: Pools,
    ends: Ends<PooledStream>,
}

impl Adapter for OnTokio {
    const NAME: &str = "tokio";

    fn fill(stock: u32, tls: Option<&Tls>) -> Outcome<Self> {
        let runtime = ends::runtime(2)?;
        let pools = runtime.block_on(Pools::new(stock, tls))?;
        let (near, far) = runtime.block_on(pools.pair())?;
        Ok(Self { runtime, pools, ends: Ends::new(near, far) })
    }

    fn take(&self, cycles: u32) -> Outcome<f64> {
        let server = &self.pools.server;
        let all = async {
            for _ in 0..cycles {
                server.put(server.acquire(SOON).await?)?;
            }
            Outcome::Ok(())
        };
        let (took, outcome) = timed(|| self.runtime.block_on(all));
        outcome.map(|()| took / f64::from(cycles))
    }

    fn bulk(&mut self, chunks: usize) -> Outcome {
        self.runtime.block_on(self.ends.bulk(chunks * CHUNK, CHUNK)).map(|_| ())
    }

    fn ping_pong(&mut self, times: u32) -> Outcome {
        self.runtime.block_on(self.ends.ping_pong(times)).map(|_| ())
    }

    fn close(self) {
        drop(self.ends);
        self.runtime.block_on(self.pools.close());
    }
}
