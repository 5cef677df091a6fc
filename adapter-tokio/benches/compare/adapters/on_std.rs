//! The adapter of threads.

use std::io::{Read, Write};
use std::thread::{self, JoinHandle};

use adapter_std::{ClientPool, PooledStream, ServerPool};

use super::{Adapter, CHUNK, raw_pair};
use crate::Outcome;
use crate::ends::{SOON, Tls, client_config, server_config};
use crate::take::each;

pub(super) struct OnStd {
    client: ClientPool,
    server: ServerPool,
    ends: Option<(PooledStream, PooledStream)>,
}

impl Adapter for OnStd {
    const NAME: &str = "std";

    fn fill(stock: u32, tls: Option<&Tls>) -> Outcome<Self> {
        let server = ServerPool::builder()
            .config(server_config(stock)?)
            .tls(tls.map(|tls| tls.server.clone()))
            .bind("127.0.0.1:0")?;
        let client = ClientPool::builder()
            .config(client_config(stock)?)
            .tls(tls.map(|tls| tls.client.clone()))
            .connect(server.local_addr().ok_or("no address")?.to_string())?;
        client.wait_ready(stock, SOON)?;
        server.wait_ready(stock, SOON)?;
        let far = server.acquire(SOON)?;
        let near = client.acquire_by_id(far.id(), SOON)?;
        Ok(Self { client, server, ends: Some((near, far)) })
    }

    fn take(&self, cycles: u32) -> Outcome<f64> {
        each(cycles, || Ok(self.server.put(self.server.acquire(SOON)?)?))
    }

    fn bulk(&mut self, chunks: usize) -> Outcome {
        let (mut near, mut far) = self.ends.take().ok_or("no connection")?;
        let writing = thread::spawn(move || {
            let chunk = vec![7; CHUNK];
            for _ in 0..chunks {
                near.write_all(&chunk)?;
            }
            near.flush()?;
            Outcome::Ok(near)
        });
        let reading = thread::spawn(move || {
            let mut buffer = vec![0; CHUNK];
            for _ in 0..chunks {
                far.read_exact(&mut buffer)?;
            }
            Outcome::Ok(far)
        });
        self.ends = Some((join(writing)?, join(reading)?));
        Ok(())
    }

    fn ping_pong(&mut self, times: u32) -> Outcome {
        let ends = self.ends.take().ok_or("no connection")?;
        self.ends = Some(ping_pong(ends, times)?);
        Ok(())
    }

    fn close(self) {
        drop(self.ends);
        self.client.close();
        self.server.close();
        // Whether they have ended in time is a matter of the tests.
        let _ = self.client.closed(SOON);
        let _ = self.server.closed(SOON);
    }
}

/// Returns [`ping_pong`](Adapter::ping_pong) between two blocking sockets, without pools.
pub(super) fn ping_pong_by_hand() -> Outcome<impl FnMut(u32) -> Outcome> {
    let mut ends = Some(raw_pair()?);
    Ok(move |times| {
        ends = Some(ping_pong(ends.take().ok_or("no connection")?, times)?);
        Ok(())
    })
}

/// Sends 64 bytes there and back in two threads, so many times.
fn ping_pong<S>((mut near, mut far): (S, S), times: u32) -> Outcome<(S, S)>
where
    S: Read + Write + Send + 'static,
{
    let asking = thread::spawn(move || {
        let mut data = [0; 64];
        for _ in 0..times {
            near.write_all(&data)?;
            near.read_exact(&mut data)?;
        }
        Outcome::Ok(near)
    });
    let answering = thread::spawn(move || {
        let mut data = [0; 64];
        for _ in 0..times {
            far.read_exact(&mut data)?;
            far.write_all(&data)?;
        }
        Outcome::Ok(far)
    });
    Ok((join(asking)?, join(answering)?))
}

fn join<S>(thread: JoinHandle<Outcome<S>>) -> Outcome<S> {
    thread.join().map_err(|_| "a thread has panicked")?
}
