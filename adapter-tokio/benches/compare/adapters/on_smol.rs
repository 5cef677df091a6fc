//! The adapter of smol, on an executor with two threads: smol's own has one, unless `SMOL_THREADS` says
//! otherwise.

use std::sync::Arc;
use std::thread;

use adapter_smol::{ClientPool, PooledStream, ServerPool, Spawner};
use pool_testkit::measure::timed;
use smol::Async;
use smol::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Adapter, CHUNK, raw_pair};
use crate::Outcome;
use crate::ends::{SOON, Tls, client_config, server_config};

pub(super) struct OnSmol {
    client: ClientPool,
    server: ServerPool,
    executor: Arc<smol::Executor<'static>>,
    ends: Option<(PooledStream, PooledStream)>,
    /// Ends the threads when it is dropped.
    _running: smol::channel::Sender<()>,
}

impl OnSmol {
    /// Returns [`ping_pong`](Adapter::ping_pong) between two streams of smol, without pools.
    pub(super) fn ping_pong_by_hand(&self) -> Outcome<impl FnMut(u32) -> Outcome + use<>> {
        let executor = Arc::clone(&self.executor);
        let (near, far) = raw_pair()?;
        let mut ends = Some((Async::new(near)?, Async::new(far)?));
        Ok(move |times| {
            ends = Some(ping_pong(&executor, ends.take().ok_or("no connection")?, times)?);
            Ok(())
        })
    }
}

/// Sends 64 bytes there and back in two tasks, so many times.
fn ping_pong<S>(
    executor: &smol::Executor<'static>,
    (mut near, mut far): (S, S),
    times: u32,
) -> Outcome<(S, S)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let asking = executor.spawn(async move {
        let mut data = [0; 64];
        for _ in 0..times {
            near.write_all(&data).await?;
            near.flush().await?;
            near.read_exact(&mut data).await?;
        }
        Outcome::Ok(near)
    });
    let answering = executor.spawn(async move {
        let mut data = [0; 64];
        for _ in 0..times {
            far.read_exact(&mut data).await?;
            far.write_all(&data).await?;
            far.flush().await?;
        }
        Outcome::Ok(far)
    });
    smol::block_on(smol::future::try_zip(asking, answering))
}

impl Adapter for OnSmol {
    const NAME: &str = "smol";

    fn fill(stock: u32, tls: Option<&Tls>) -> Outcome<Self> {
        let executor = Arc::new(smol::Executor::new());
        let (running, ended) = smol::channel::bounded(1);
        for _ in 0..2 {
            let (executor, ended) = (Arc::clone(&executor), ended.clone());
            // Nothing is sent: the receiver fails when the sender is dropped.
            thread::spawn(move || smol::block_on(executor.run(ended.recv())).is_ok());
        }
        let spawner = || {
            let executor = Arc::clone(&executor);
            Spawner::new(move |future| executor.spawn(future).detach())
        };
        let server = ServerPool::builder()
            .config(server_config(stock)?)
            .tls(tls.map(|tls| tls.server.clone()))
            .on(spawner());
        let server = smol::block_on(server.bind("127.0.0.1:0"))?;
        let client = ClientPool::builder()
            .config(client_config(stock)?)
            .tls(tls.map(|tls| tls.client.clone()))
            .on(spawner())
            .connect(server.local_addr().ok_or("no address")?.to_string())?;
        smol::block_on(client.wait_ready(stock, SOON))?;
        smol::block_on(server.wait_ready(stock, SOON))?;
        let far = smol::block_on(server.acquire(SOON))?;
        let near = smol::block_on(client.acquire_by_id(far.id(), SOON))?;
        Ok(Self { client, server, executor, ends: Some((near, far)), _running: running })
    }

    fn take(&self, cycles: u32) -> Outcome<f64> {
        let all = async {
            for _ in 0..cycles {
                self.server.put(self.server.acquire(SOON).await?)?;
            }
            Outcome::Ok(())
        };
        let (took, outcome) = timed(|| smol::block_on(all));
        outcome.map(|()| took / f64::from(cycles))
    }

    fn bulk(&mut self, chunks: usize) -> Outcome {
        let (mut near, mut far) = self.ends.take().ok_or("no connection")?;
        let writing = self.executor.spawn(async move {
            let chunk = vec![7; CHUNK];
            for _ in 0..chunks {
                near.write_all(&chunk).await?;
            }
            near.flush().await?;
            Outcome::Ok(near)
        });
        let reading = self.executor.spawn(async move {
            let mut buffer = vec![0; CHUNK];
            for _ in 0..chunks {
                far.read_exact(&mut buffer).await?;
            }
            Outcome::Ok(far)
        });
        self.ends = Some(smol::block_on(smol::future::try_zip(writing, reading))?);
        Ok(())
    }

    fn ping_pong(&mut self, times: u32) -> Outcome {
        let ends = self.ends.take().ok_or("no connection")?;
        self.ends = Some(ping_pong(&self.executor, ends, times)?);
        Ok(())
    }

    fn close(self) {
        drop(self.ends);
        self.client.close();
        self.server.close();
        smol::block_on(self.client.closed());
        smol::block_on(self.server.closed());
    }
}
