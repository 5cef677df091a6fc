//! The parts of other processes: one end of many connections, which lie idle.

use std::io::Read;

use tokio::runtime::Runtime;

use crate::Outcome;
use crate::ends::{self, Care, SOON, Tls, dial, dial_all_bare, serve_bare};
use crate::exchange;
use crate::request;
use crate::system::Other;

/// Plays a part in a process of its own, for another that runs the rows.
pub(crate) fn play(part: &[&str]) -> Outcome {
    match part {
        ["ping-pong", who, wire, times] => exchange::part(who, wire, times.parse()?),
        // For a profiler: perf record compare --part fill pool plain 1000 10
        ["fill", who, wire, stock, times] => {
            let runtime = ends::runtime(2)?;
            let tls = Tls::new(*wire == "TLS")?;
            let stock = stock.parse()?;
            runtime.block_on(async {
                for _ in 0..times.parse::<u32>()? {
                    match *who {
                        "pool" => ends::Pools::new(stock, tls.as_ref()).await?.close().await,
                        _ => drop(ends::bare_ends(stock, tls.as_ref()).await?),
                    }
                }
                Ok(())
            })
        }
        // Likewise: perf record compare --part request plain 20000
        ["request", wire, times] => {
            let runtime = ends::runtime(2)?;
            let tls = Tls::new(*wire == "TLS")?;
            runtime.block_on(request::repeat(tls.as_ref(), times.parse()?))
        }
        ["serve", who, wire, stock] => {
            let runtime = ends::runtime(2)?;
            let tls = Tls::new(*wire == "TLS")?;
            let (address, end) = serve(&runtime, who, tls.as_ref(), stock.parse()?)?;
            println!("{address}");
            stay();
            drop(end);
            Ok(())
        }
        ["dial", who, wire, stock, address] => {
            let runtime = ends::runtime(2)?;
            let tls = Tls::new(*wire == "TLS")?;
            let end = connect(&runtime, who, tls.as_ref(), stock.parse()?, address)?;
            println!("ready");
            stay();
            drop(end);
            Ok(())
        }
        other => Err(format!("no part is called {other:?}").into()),
    }
}

/// Waits for the end of the input.
fn stay() {
    // Ends likewise if the input fails.
    let _ = std::io::stdin().read(&mut [0]);
}

/// An end of many connections, held.
pub(crate) type End = Box<dyn std::any::Any>;

/// Begins to serve up to so many connections; returns the address.
pub(crate) fn serve(
    runtime: &Runtime,
    who: &str,
    tls: Option<&Tls>,
    stock: u32,
) -> Outcome<(String, Served)> {
    let _entered = runtime.enter();
    if who == "pool" {
        let pool = runtime.block_on(ends::serve(stock, tls))?;
        let address = pool.local_addr().ok_or("no address")?.to_string();
        return Ok((address, Served::Pool(pool)));
    }
    let listener = ends::listener()?;
    let address = listener.local_addr()?.to_string();
    let (_, streams) = serve_bare(listener, tls.cloned(), Care::None);
    Ok((address, Served::Bare(streams, Vec::new())))
}

/// The server's end.
pub(crate) enum Served {
    Pool(adapter_tokio::ServerPool),
    Bare(tokio::sync::mpsc::UnboundedReceiver<ends::Bare>, Vec<ends::Bare>),
}

impl Served {
    /// Waits until so many connections are there.
    pub(crate) async fn wait(&mut self, stock: u32) -> Outcome {
        match self {
            Self::Pool(pool) => pool.wait_ready(stock, SOON).await?,
            Self::Bare(streams, held) => {
                held.reserve_exact(usize::try_from(stock)?);
                for _ in 0..stock {
                    held.push(streams.recv().await.ok_or("the listener has ended")?);
                }
            }
        }
        Ok(())
    }
}

/// Dials so many connections, and waits until they are there.
pub(crate) fn connect(
    runtime: &Runtime,
    who: &str,
    tls: Option<&Tls>,
    stock: u32,
    address: &str,
) -> Outcome<End> {
    runtime.block_on(async {
        if who == "pool" {
            let pool = dial(stock, tls, address.to_owned())?;
            pool.wait_ready(stock, SOON).await?;
            return Outcome::Ok(Box::new(pool) as End);
        }
        Ok(Box::new(dial_all_bare(stock, tls, address, Care::None).await?) as End)
    })
}

/// A process that serves, and its address.
pub(crate) fn serving(who: &str, wire: &str, stock: u32) -> Outcome<(Other, String)> {
    let mut other = Other::start(&["serve", who, wire, &stock.to_string()])?;
    let address = other.read()?;
    Ok((other, address))
}

/// A process that has dialled.
pub(crate) fn dialling(who: &str, wire: &str, stock: u32, address: &str) -> Outcome<Other> {
    let mut other = Other::start(&["dial", who, wire, &stock.to_string(), address])?;
    other.read()?;
    Ok(other)
}
