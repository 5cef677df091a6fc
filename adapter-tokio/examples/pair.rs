//! Sends ten requests from one end to the other, over connections that were ready before they were
//! needed.
//!
//! `cargo run --example pair-tokio`. Every adapter has this example; a diff of two of them shows
//! how the adapters differ.

use std::env;
use std::error::Error;
use std::time::Duration;

use adapter_tokio::pool_driver::tls::{ClientTls, Identity, ServerTls};
use adapter_tokio::pool_proto::{ClientConfig, ConnId};
use adapter_tokio::{ClientPool, ServerPool};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// A message of the control channel: the number of a request, and the id of its connection.
type Message = (u32, ConnId);

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Long enough for any step on loopback.
const SOON: Duration = Duration::from_secs(5);

fn main() -> Outcome {
    Runtime::new()?.block_on(run())
}

async fn run() -> Outcome {
    // Each end makes its certificate at the first start, keeps it in a file beside this program, and
    // pins the other's.
    let program = env::current_exe()?;
    let server = Identity::load_or_create(program.with_file_name("pair-server.pem"), ["server"])?;
    let agent = Identity::load_or_create(program.with_file_name("pair-agent.pem"), ["agent"])?;
    let (server_pin, agent_pin) = (server.fingerprint(), agent.fingerprint());

    let tls = ServerTls::new(server)?.pinned_clients([agent_pin])?;
    let server =
        ServerPool::builder().tls(tls).require_authentication().bind("127.0.0.1:0").await?;
    let address = server.local_addr().ok_or("the listener has no address")?;

    let config = ClientConfig::builder().capacity(2..=16).build()?;
    let tls = ClientTls::self_signed()?.pinned(server_pin)?.client_certificate(agent);
    let client = ClientPool::builder().config(config).tls(tls).require_authentication();
    let client = client.connect(address.to_string())?;
    client.wait_ready(2, SOON).await?;

    // Stands for the user's own control channel between the two ends.
    let (sender, receiver) = channel(1);
    let (finish, finished) = channel(1);
    let answering = tokio::spawn(answer(client.clone(), receiver, finish));
    ask(&server, sender, finished).await?;
    answering.await??;

    for (name, stats) in [("server", server.stats()), ("client", client.stats())] {
        let totals = stats.totals;
        let (made, leased, reused) = (totals.established, totals.leases, totals.reused);
        println!(
            "{name}: {made} connections established, leased {leased} times, reused {reused} times"
        );
    }
    client.close();
    client.closed().await;
    server.close();
    server.closed().await;
    Ok(())
}

/// Takes any connection, sends its id over the control channel, and sends a request over the
/// connection.
async fn ask(pool: &ServerPool, control: Sender<Message>, mut finished: Receiver<()>) -> Outcome {
    for number in 1..=10 {
        let mut stream = pool.acquire(SOON).await?;
        let id = stream.id();
        control.send((number, id)).await?;
        stream.write_all(format!("request {number:02}").as_bytes()).await?;
        stream.flush().await?;
        let mut echo = [0; 10];
        stream.read_exact(&mut echo).await?;
        // Wait until the other end has put it back: only then may this end.
        finished.recv().await.ok_or("the other end has ended")?;
        let end = if is_last_use(number) { "dropped" } else { "put back" };
        println!("{} returned over {id}, {end}", String::from_utf8_lossy(&echo));
        if !is_last_use(number) {
            pool.put(stream)?;
        }
    }
    Ok(())
}

/// Takes the connection whose id arrives on the control channel, and answers the request.
async fn answer(pool: ClientPool, mut control: Receiver<Message>, finish: Sender<()>) -> Outcome {
    while let Some((number, id)) = control.recv().await {
        let mut stream = pool.acquire_by_id(id, SOON).await?;
        let mut request = [0; 10];
        stream.read_exact(&mut request).await?;
        stream.write_all(&request).await?;
        stream.flush().await?;
        if !is_last_use(number) {
            pool.put(stream)?;
        }
        finish.send(()).await?;
    }
    Ok(())
}

/// Returns whether both ends drop the connection after this request instead of putting it back.
fn is_last_use(number: u32) -> bool {
    number.is_multiple_of(5)
}
