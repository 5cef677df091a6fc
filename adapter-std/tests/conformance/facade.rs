//! The facade of this adapter for the scenarios; its calls block already.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic here is a failed scenario")]

use std::any::Any;
use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use adapter_std::pool_driver::pool_proto::{ClientConfig, ConfigError, ServerConfig};
use adapter_std::{
    AcquireError, Balanced, BuildError, ClientPool, ConnId, PooledStream, PutError, Recording,
    Report, ServerPool, SetTlsError, Stats, TlsFacts,
};
use pool_conformance::{
    Adapter, Balancer, ClientSetup, Demand, Dial, Halves, Handle, Listen, Pool, ServerSetup,
    Stream, Tls,
};

pub(crate) struct Std;

impl Adapter for Std {
    fn name(&self) -> &'static str {
        "std"
    }

    fn client(&self, setup: ClientSetup) -> Result<Arc<dyn Pool>, BuildError> {
        let mut builder = ClientPool::builder().tls(setup.tls);
        if let Some(config) = setup.config {
            builder = builder.config(config);
        }
        if let Some(keep_alive) = setup.keep_alive {
            builder = builder.keep_alive(keep_alive);
        }
        if let Some(open) = setup.tape {
            builder = builder.record(move || open());
        }
        builder = match setup.demand {
            Demand::Nothing => builder,
            Demand::Tls => builder.require_tls(),
            // A weaker demand takes nothing back.
            Demand::Authentication => builder.require_authentication().require_tls(),
        };
        let pool = match setup.dial {
            Dial::Address(address) => builder.connect(address),
            Dial::With(dial) => builder.connect_with(move || dial()),
        };
        Ok(Arc::new(Shared { pool: pool?, local_addr: None }))
    }

    fn server(&self, setup: ServerSetup) -> Result<Arc<dyn Pool>, BuildError> {
        let mut builder = ServerPool::builder().tls(setup.tls);
        if let Some(config) = setup.config {
            builder = builder.config(config);
        }
        if let Some(keep_alive) = setup.keep_alive {
            builder = builder.keep_alive(keep_alive);
        }
        if let Some(open) = setup.tape {
            builder = builder.record(move || open());
        }
        builder = match setup.demand {
            Demand::Nothing => builder,
            Demand::Tls => builder.require_tls(),
            // A weaker demand takes nothing back.
            Demand::Authentication => builder.require_authentication().require_tls(),
        };
        let pool = match setup.listen {
            Listen::Address(address) => builder.bind(&address),
            Listen::At(address) => builder.bind_addr(address),
            Listen::On(listener) => builder.listen(listener),
        };
        let pool = pool?;
        let local_addr = pool.local_addr();
        Ok(Arc::new(Shared { pool, local_addr }))
    }

    fn balancer(&self, pools: Vec<Arc<dyn Pool>>) -> Box<dyn Balancer> {
        let clients = balanced_clients(&pools);
        clients.or_else(|| balanced_servers(&pools)).unwrap()
    }
}

struct Shared<P> {
    pool: P,
    local_addr: Option<SocketAddr>,
}

impl<P: fmt::Debug> fmt::Debug for Shared<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pool.fmt(f)
    }
}

struct Several<P>(adapter_std::Balancer<P>);

fn boxed(stream: PooledStream) -> Box<dyn Stream> {
    Box::new(Leased(stream))
}

/// Implements the facade for one of the two pool types.
macro_rules! facade {
    ($Pool:ty, $Config:ty, $balanced:ident) => {
        /// Returns a balancer if the pools are of this type.
        fn $balanced(pools: &[Arc<dyn Pool>]) -> Option<Box<dyn Balancer>> {
            let mut pools = pools.iter().map(|pool| {
                let pool: &dyn Any = &**pool;
                Some(pool.downcast_ref::<Shared<$Pool>>()?.pool.clone())
            });
            let first = pools.next()??;
            let others: Option<Vec<_>> = pools.collect();
            Some(Box::new(Several(adapter_std::Balancer::new(first, others?))))
        }

        impl Balancer for Several<$Pool> {
            fn acquire(&self, timeout: Duration) -> Result<(Box<dyn Stream>, usize), AcquireError> {
                let Balanced { stream, pool, index } = self.0.acquire(timeout)?;
                let indexed = self.0.pools().get(index).unwrap();
                assert!(ptr::eq(pool, indexed), "the index is of another pool");
                Ok((boxed(stream), index))
            }
        }

        impl Pool for Shared<$Pool> {
            fn local_addr(&self) -> Option<SocketAddr> {
                self.local_addr
            }

            fn acquire(&self, timeout: Duration) -> Result<Box<dyn Stream>, AcquireError> {
                self.pool.acquire(timeout).map(boxed)
            }

            fn acquire_by_id(
                &self,
                id: ConnId,
                timeout: Duration,
            ) -> Result<Box<dyn Stream>, AcquireError> {
                self.pool.acquire_by_id(id, timeout).map(boxed)
            }

            fn accept(&self, timeout: Duration) -> Result<Box<dyn Stream>, AcquireError> {
                self.pool.accept(timeout).map(boxed)
            }

            fn acquire_then_cancel(
                &self,
                id: Option<ConnId>,
                after: Duration,
            ) -> Option<Box<dyn Stream>> {
                let acquired = match id {
                    Some(id) => self.pool.acquire_by_id(id, after),
                    None => self.pool.acquire(after),
                };
                acquired.ok().map(boxed)
            }

            fn wait_ready(&self, ready: u32, timeout: Duration) -> Result<(), AcquireError> {
                self.pool.wait_ready(ready, timeout)
            }

            fn put(&self, stream: Box<dyn Stream>) -> Result<(), PutError> {
                let stream: Box<dyn Any> = stream;
                self.pool.put(stream.downcast::<Leased>().unwrap().0)
            }

            fn handle(&self) -> &(dyn Handle + 'static) {
                self
            }

            fn closed(&self, timeout: Duration) -> bool {
                self.pool.closed(timeout)
            }

            fn clone_handle(&self) -> Arc<dyn Pool> {
                Arc::new(Self { pool: self.pool.clone(), local_addr: self.local_addr })
            }
        }

        impl Handle for Shared<$Pool> {
            fn clean(&self) -> u32 {
                self.pool.clean()
            }

            fn flush(&self) -> u32 {
                self.pool.flush()
            }

            fn close(&self) {
                self.pool.close();
            }

            fn graceful_shutdown(&self, timeout: Duration) {
                self.pool.graceful_shutdown(timeout);
            }

            fn is_closed(&self) -> bool {
                self.pool.is_closed()
            }

            fn is_ready(&self) -> bool {
                self.pool.is_ready()
            }

            fn idle(&self) -> u32 {
                self.pool.idle()
            }

            fn capacity(&self) -> u32 {
                self.pool.capacity()
            }

            fn interval(&self) -> Duration {
                self.pool.interval()
            }

            fn stats(&self) -> Stats {
                self.pool.stats()
            }

            fn report(&self) -> Report {
                self.pool.report()
            }

            fn last_failure(&self) -> Option<Arc<str>> {
                self.pool.last_failure()
            }

            fn add_error(&self) {
                self.pool.add_error();
            }

            fn error_count(&self) -> u64 {
                self.pool.error_count()
            }

            fn reset_error(&self) {
                self.pool.reset_error();
            }

            fn recording(&self) -> Option<Recording> {
                self.pool.recording()
            }

            fn end_recording(&self) {
                self.pool.end_recording();
            }

            fn dial_now(&self) {
                let pool: &dyn Any = &self.pool;
                if let Some(client) = pool.downcast_ref::<ClientPool>() {
                    client.dial_now();
                }
            }

            fn set_config(&self, config: &dyn Any) -> Option<Result<(), ConfigError>> {
                Some(self.pool.set_config(config.downcast_ref::<$Config>()?))
            }

            fn set_capacity(
                &self,
                capacity: RangeInclusive<u32>,
            ) -> Option<Result<(), ConfigError>> {
                let pool: &dyn Any = &self.pool;
                Some(pool.downcast_ref::<ClientPool>()?.set_capacity(capacity))
            }

            fn set_tls(&self, tls: Tls) -> Result<(), SetTlsError> {
                let pool: &dyn Any = &self.pool;
                match tls {
                    Tls::Client(tls) => pool.downcast_ref::<ClientPool>().unwrap().set_tls(tls),
                    Tls::Server(tls) => pool.downcast_ref::<ServerPool>().unwrap().set_tls(tls),
                }
            }
        }
    };
}

facade!(ClientPool, ClientConfig, balanced_clients);
facade!(ServerPool, ServerConfig, balanced_servers);

/// The adapter's stream, for the scenarios.
#[derive(Debug)]
struct Leased(PooledStream);

impl Read for Leased {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Leased {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write(data)
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Stream for Leased {
    fn id(&self) -> ConnId {
        self.0.id()
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn tls(&self) -> Option<TlsFacts> {
        self.0.tls()
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.shutdown()
    }

    fn set_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        self.0.set_read_timeout(Some(timeout));
        self.0.set_write_timeout(Some(timeout));
        Ok(())
    }

    fn split(self: Box<Self>) -> Halves {
        let (reader, writer) = self.0.split();
        (Box::new(reader), Box::new(writer))
    }
}
