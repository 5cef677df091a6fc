//! The other pools, used as their documentation says is fastest: no timeout, no checks, and the
//! same fake connection.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use asyncband::pool::{ManageObject, ObjectStatus, bounded};

use crate::Outcome;
use crate::fake::Fake;

/// The versions that are measured. `cargo tree -p adapter-tokio --depth 1` shows them, too.
pub(crate) const DEADPOOL: &str = "deadpool 0.13 unmanaged";
pub(crate) const DEADPOOL_MANAGED: &str = "deadpool 0.13 managed";
pub(crate) const BB8: &str = "bb8 0.9";
pub(crate) const R2D2: &str = "r2d2 0.8";
/// The successor of fastpool, which is deprecated in favour of it.
pub(crate) const FASTPOOL: &str = "fastpool (asyncband 0.7)";
pub(crate) const MOBC: &str = "mobc 0.9";
/// The floor: what any pool does at least.
pub(crate) const QUEUE: &str = "floor: a mutex and a queue";

/// Makes connections for the pools that want a manager.
#[derive(Debug)]
pub(crate) struct Maker;

impl deadpool::managed::Manager for Maker {
    type Type = Fake;
    type Error = Infallible;

    async fn create(&self) -> Result<Fake, Infallible> {
        Ok(Fake(0))
    }

    async fn recycle(
        &self,
        _: &mut Fake,
        _: &deadpool::managed::Metrics,
    ) -> deadpool::managed::RecycleResult<Infallible> {
        Ok(())
    }
}

impl bb8::ManageConnection for Maker {
    type Connection = Fake;
    type Error = Infallible;

    async fn connect(&self) -> Result<Fake, Infallible> {
        Ok(Fake(0))
    }

    async fn is_valid(&self, _: &mut Fake) -> Result<(), Infallible> {
        Ok(())
    }

    fn has_broken(&self, _: &mut Fake) -> bool {
        false
    }
}

impl r2d2::ManageConnection for Maker {
    type Connection = Fake;
    type Error = std::fmt::Error;

    fn connect(&self) -> Result<Fake, Self::Error> {
        Ok(Fake(0))
    }

    fn is_valid(&self, _: &mut Fake) -> Result<(), Self::Error> {
        Ok(())
    }

    fn has_broken(&self, _: &mut Fake) -> bool {
        false
    }
}

impl ManageObject for Maker {
    type Object = Fake;
    type Error = Infallible;

    async fn create(&self) -> Result<Fake, Infallible> {
        Ok(Fake(0))
    }

    async fn is_recyclable(&self, _: &mut Fake, _: &ObjectStatus) -> Result<(), Infallible> {
        Ok(())
    }
}

#[mobc::async_trait]
impl mobc::Manager for Maker {
    type Connection = Fake;
    type Error = Infallible;

    /// The task that puts a connection back waits for nothing, unless a lock is held.
    fn spawn_task<T>(&self, task: T)
    where
        T: Future + Send + 'static,
        T::Output: Send + 'static,
    {
        let mut task = Box::pin(task);
        if task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            tokio::spawn(task);
        }
    }

    async fn connect(&self) -> Result<Fake, Infallible> {
        Ok(Fake(0))
    }

    async fn check(&self, connection: Fake) -> Result<Fake, Infallible> {
        Ok(connection)
    }
}

pub(crate) fn deadpool_unmanaged(stock: u32) -> deadpool::unmanaged::Pool<Fake> {
    (0..stock).map(|name| Fake(u64::from(name))).collect::<Vec<_>>().into()
}

pub(crate) fn deadpool_managed(stock: u32) -> Outcome<deadpool::managed::Pool<Maker>> {
    let stock = usize::try_from(stock)?;
    Ok(deadpool::managed::Pool::builder(Maker).max_size(stock).build()?)
}

/// To be called in a runtime.
pub(crate) async fn bb8(stock: u32) -> Outcome<bb8::Pool<Maker>> {
    let builder = bb8::Pool::builder().max_size(stock).min_idle(stock).test_on_check_out(false);
    Ok(builder.max_lifetime(None).idle_timeout(None).build(Maker).await?)
}

pub(crate) fn r2d2(stock: u32) -> Outcome<r2d2::Pool<Maker>> {
    let builder = r2d2::Pool::builder().max_size(stock).test_on_check_out(false);
    Ok(builder.max_lifetime(None).idle_timeout(None).build(Maker)?)
}

pub(crate) fn fastpool(stock: u32) -> Outcome<Arc<bounded::Pool<Maker>>> {
    let config = bounded::PoolConfig::new(usize::try_from(stock)?);
    Ok(bounded::Pool::new(config, Maker))
}

pub(crate) fn mobc(stock: u32) -> mobc::Pool<Maker> {
    let builder = mobc::Pool::builder().max_open(u64::from(stock)).max_idle(u64::from(stock));
    builder.test_on_check_out(false).get_timeout(None).max_lifetime(None).build(Maker)
}

/// Polls a future once that does not wait.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> Outcome<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Ok(value),
        Poll::Pending => Err("the pool is empty".into()),
    }
}
