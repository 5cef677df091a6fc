//! Late events: a dial past its deadline, unsent data of an earlier write, and timers.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Mutex, mpsc};
use std::task::Poll;
use std::time::Duration;

use adapter_std::pool_driver::Clock;
use adapter_std::pool_driver::shared::block_on;
use adapter_std::pool_driver::tls::{ClientTls, ServerTls};
use adapter_std::pool_driver::{self, MonotonicClock};
use adapter_std::pool_proto::{Accepting, ClientConfig, ConnId};
use adapter_std::{
    AcquireError, Balancer, ClientPool, PooledStream, ServerPool, Threads, WriteHalf,
};

const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_dial_past_its_deadline_starts_no_handshake() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let config = ClientConfig::builder().capacity(1..=1).dial_timeout(Duration::from_millis(50));
    let (begin, begun) = mpsc::channel();
    let (go, permits) = mpsc::channel::<()>();
    let permits = Mutex::new(permits);
    let builder = ClientPool::builder().config(config.build()?).tls(ClientTls::self_signed()?);
    let pool = builder.connect_with(move || {
        // Later dials wait for the lock, and fail when the test ends.
        let permits = permits.lock().map_err(|_| io::Error::other("an earlier dial panicked"))?;
        begin.send(()).map_err(io::Error::other)?;
        permits.recv().map_err(io::Error::other)?;
        TcpStream::connect(address)
    })?;
    begun.recv_timeout(SOON)?;
    let timeouts = || pool.stats().totals.dial_timeouts;
    let (before, began) = (timeouts(), MonotonicClock.now());
    while timeouts() == before {
        assert!(MonotonicClock.now().since(began) < SOON, "the dial did not time out");
        std::thread::yield_now();
    }
    go.send(())?;
    // The peer does not answer, so a handshake with it would never end.
    let (mut peer, _) = listener.accept()?;
    peer.set_read_timeout(Some(SOON))?;
    let mut hello = Vec::new();
    let ended = peer.read_to_end(&mut hello);
    assert!(ended.is_ok() && hello.is_empty(), "{ended:?}, {} bytes of a hello", hello.len());
    drop(pool);
    Ok(())
}

type Pools = (ServerPool, ClientPool);

/// Two pools with TLS, and a connection that both ends have acquired: the client's stream, and the server's.
fn streams() -> Result<(Pools, PooledStream, PooledStream), Box<dyn Error>> {
    let server = ServerPool::builder().tls(ServerTls::self_signed()?).bind("127.0.0.1:0")?;
    let address = server.local_addr().ok_or("the server has no address")?;
    let client =
        ClientPool::builder().tls(ClientTls::self_signed()?).connect(address.to_string())?;
    let ours = client.acquire(SOON)?;
    let theirs = server.acquire_by_id(ours.id(), SOON)?;
    Ok(((server, client), ours, theirs))
}

/// The time from a question to its answer.
const THINKS: Duration = Duration::from_millis(400);

/// The processor time of this thread, where the system tells it in a file.
fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

#[test]
fn a_read_sends_the_data_that_a_write_has_left() -> Result<(), Box<dyn Error>> {
    let (_pools, mut ours, mut theirs) = streams()?;

    // Fill the kernel's buffers, so that TLS keeps unsent data.
    ours.set_write_timeout(Some(Duration::from_millis(100)));
    let (mut sent, chunk) = (0, [7; 16 * 1024]);
    while let Ok(count) = ours.write(&chunk) {
        sent += count;
    }
    let peer = std::thread::spawn(move || {
        let mut question = vec![0; sent];
        theirs.set_read_timeout(Some(SOON));
        let read = theirs.read_exact(&mut question);
        std::thread::sleep(THINKS);
        read.and_then(|()| theirs.write_all(b"answer")).map(|()| theirs)
    });
    let mut answer = [0; 6];
    ours.set_read_timeout(Some(SOON));
    let before = processor_time();
    let read = ours.read_exact(&mut answer);
    if let (Some(before), Some(after)) = (before, processor_time()) {
        let took = after - before;
        assert!(took < THINKS / 4, "the read took {took:?} of the processor while it waited");
    }
    let peer = peer.join().map_err(|_| "the peer panicked")?;
    assert!(read.is_ok() && peer.is_ok(), "{read:?}, {peer:?}");
    Ok(())
}

#[test]
fn a_write_that_times_out_says_how_much_it_has_accepted() -> Result<(), Box<dyn Error>> {
    let (_pools, mut ours, mut theirs) = streams()?;
    ours.set_write_timeout(Some(Duration::from_millis(50)));
    let (mut accepted, chunk) = (0, [7; 64 * 1024]);
    let error = loop {
        match ours.write(&chunk) {
            Ok(count) => accepted += count,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    ours.set_write_timeout(Some(SOON));
    let peer = std::thread::spawn(move || {
        let mut all = Vec::new();
        theirs.set_read_timeout(Some(SOON));
        theirs.read_to_end(&mut all).map(|_| all)
    });
    ours.shutdown()?;
    let all = peer.join().map_err(|_| "the peer panicked")??;
    assert_eq!(all.len(), accepted);
    Ok(())
}

/// Also that of a half, which has the timeouts of its stream.
#[test]
fn a_shutdown_waits_as_long_as_a_write_may() -> Result<(), Box<dyn Error>> {
    let (_pools, mut ours, theirs) = streams()?;
    ours.set_read_timeout(Some(SOON));
    ours.set_write_timeout(Some(Duration::from_millis(50)));
    while ours.write(&[7; 64 * 1024]).is_ok() {}
    let (read, mut write) = ours.split();
    // So that a call without a deadline fails, too.
    let (stop, stopped) = mpsc::channel::<()>();
    let peer = std::thread::spawn(move || {
        let _ = stopped.recv_timeout(SOON);
        drop(theirs);
    });
    for call in [WriteHalf::flush, WriteHalf::shutdown] {
        let began = MonotonicClock.now();
        let error = call(&mut write).err().ok_or("the peer has no room")?;
        let took = MonotonicClock.now().since(began);
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(took < SOON / 2, "{took:?}");
    }
    drop((read, stop));
    peer.join().map_err(|_| "the peer panicked")?;
    Ok(())
}

/// The limit of the machine, and that of the threads that dial.
#[test]
fn more_dials_at_a_time_may_be_allowed_at_run_time() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let config = |dials| ClientConfig::builder().capacity(6..=6).max_dials(dials).build();
    let (begin, begun) = mpsc::channel();
    let (free, until_free) = mpsc::channel::<()>();
    let until_free = Mutex::new(until_free);
    let pool = ClientPool::builder().config(config(2)?).connect_with(move || {
        begin.send(()).map_err(io::Error::other)?;
        drop(until_free.lock().map(|until_free| until_free.recv()));
        TcpStream::connect(address)
    })?;
    let begins = |more, dials| -> Result<(), Box<dyn Error>> {
        for _ in 0..more {
            begun.recv_timeout(SOON)?;
        }
        assert_eq!(begun.try_recv(), Err(mpsc::TryRecvError::Empty), "{dials} at a time");
        Ok(())
    };
    begins(2, 2)?;
    for (more, dials) in [(3, 5), (1, 6)] {
        pool.set_config(&config(dials)?)?;
        begins(more, dials)?;
    }
    drop(free);
    Ok(())
}

/// A dialer that hangs holds its thread beyond the end of its dial, so the threads have a limit of their own.
#[test]
fn a_limit_of_dials_that_is_set_again_allows_no_more_threads() -> Result<(), Box<dyn Error>> {
    const DIALS: u32 = 3;
    let wait = Duration::from_millis(1);
    let config = |dials| {
        let config = ClientConfig::builder().capacity(6..=6).max_dials(dials);
        config.dial_timeout(Duration::from_millis(20)).backoff(wait, wait).build()
    };
    let (begin, begun) = mpsc::channel();
    let (free, until_free) = mpsc::channel::<()>();
    let until_free = Mutex::new(until_free);
    let pool = ClientPool::builder().config(config(1)?).connect_with(move || {
        begin.send(()).map_err(io::Error::other)?;
        drop(until_free.lock().map(|until_free| until_free.recv()));
        Err(io::Error::other("free"))
    })?;
    for dials in [DIALS, 2, DIALS, DIALS] {
        pool.set_config(&config(dials)?)?;
    }
    for _ in 0..DIALS {
        begun.recv_timeout(SOON)?;
    }
    // All threads hang, and the machine goes on: it begins other dials in the place of these.
    let timeouts = || pool.stats().totals.dial_timeouts;
    let (before, began) = (timeouts(), MonotonicClock.now());
    while timeouts() < before + 10 {
        assert!(MonotonicClock.now().since(began) < SOON, "no dial timed out");
        std::thread::yield_now();
    }
    assert_eq!(begun.try_recv(), Err(mpsc::TryRecvError::Empty), "more than {DIALS} threads");
    drop(free);
    Ok(())
}

/// The driver's thread cannot be blocked by a user, but a dialer may hang.
#[test]
fn a_deadline_passes_while_a_dialer_hangs() -> Result<(), Box<dyn Error>> {
    const DEADLINE: Duration = Duration::from_millis(200);
    let (free, until_free) = mpsc::channel::<()>();
    let until_free = Mutex::new(until_free);
    let pool = ClientPool::builder().connect_with(move || {
        let until_free = until_free.lock().map_err(|_| io::Error::other("poisoned"))?;
        until_free.recv().map_err(io::Error::other)?;
        Err(io::Error::other("free"))
    })?;
    let balancer = Balancer::new(pool.clone(), [pool.clone()]);
    let id = ConnId::from_bytes([1, 2, 3, 4]);
    for timeout in [DEADLINE, Duration::ZERO] {
        let calls: [&dyn Fn() -> Result<(), AcquireError>; 4] = [
            &|| pool.acquire(timeout).map(drop),
            &|| pool.acquire_by_id(id, timeout).map(drop),
            &|| pool.wait_ready(1, timeout),
            &|| balancer.acquire(timeout).map(drop),
        ];
        for (at, call) in calls.into_iter().enumerate() {
            let began = MonotonicClock.now();
            let answer = call();
            let took = MonotonicClock.now().since(began);
            println!("call {at}, {timeout:?}: {took:?}");
            assert!(matches!(answer, Err(AcquireError::Timeout { .. })), "{at}: {answer:?}");
            assert!(
                took >= timeout && took < timeout + Duration::from_millis(500),
                "{at}: {took:?}"
            );
        }
    }
    drop(free);
    Ok(())
}

#[test]
fn a_timer_set_by_another_thread_is_on_time() -> Result<(), Box<dyn Error>> {
    let builder = pool_driver::Pool::<Threads, Accepting>::builder();
    let Poll::Ready(pool) =
        block_on(&mut Box::pin(builder.bind("127.0.0.1:0")), &MonotonicClock, SOON)
    else {
        return Err("`bind` took too long".into());
    };
    let pool = pool?;
    let limit = Duration::from_millis(20);
    // Several rounds: in the first one, the reactor's thread may not be asleep yet.
    for _ in 0..5 {
        let began = MonotonicClock.now();
        // No peer connects, so only the timer can end the wait.
        let taken = block_on(&mut Box::pin(pool.acquire(limit)), &MonotonicClock, SOON);
        assert!(matches!(taken, Poll::Ready(Err(_))), "{taken:?}");
        let took = MonotonicClock.now().since(began);
        assert!(took >= limit && took < SOON, "{took:?}");
    }
    Ok(())
}

/// A dialer that hangs holds the pool's end, but not the call that waits for it.
#[test]
fn the_wait_for_the_end_of_a_pool_has_a_deadline_though_a_dialer_hangs()
-> Result<(), Box<dyn Error>> {
    let (begin, begun) = mpsc::channel();
    let (free, until_free) = mpsc::channel::<()>();
    let until_free = Mutex::new(until_free);
    let pool = ClientPool::builder().connect_with(move || {
        begin.send(()).map_err(io::Error::other)?;
        let until_free = until_free.lock().map_err(|_| io::Error::other("poisoned"))?;
        let _ = until_free.recv_timeout(SOON);
        Err(io::Error::other("free"))
    })?;
    begun.recv_timeout(SOON)?;
    pool.close();
    let before = MonotonicClock.now();
    assert!(!pool.closed(Duration::from_millis(100)), "a dialer holds its thread");
    let took = MonotonicClock.now().since(before);
    assert!(took < Duration::from_secs(2), "{took:?}");
    drop(free);
    assert!(pool.closed(SOON));
    Ok(())
}

/// A write takes its timeout once, though it waits twice: for room, and for its own data to leave.
#[cfg(unix)]
#[test]
fn the_flush_of_a_write_has_the_rest_of_its_timeout() -> Result<(), Box<dyn Error>> {
    const TIMEOUT: Duration = Duration::from_millis(1500);
    // Both buffers of the system are small, so that the session holds most of the data.
    const SMALL: usize = 32 * 1024;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    socket2::SockRef::from(&listener).set_recv_buffer_size(SMALL)?;
    let address = listener.local_addr()?;
    let server = ServerPool::builder().tls(ServerTls::self_signed()?).listen(listener)?;
    let builder = ClientPool::builder().tls(ClientTls::self_signed()?);
    let client = builder.connect_with(move || {
        let stream = TcpStream::connect(address)?;
        socket2::SockRef::from(&stream).set_send_buffer_size(SMALL)?;
        Ok(stream)
    })?;
    let mut ours = client.acquire(SOON)?;
    let mut theirs = server.acquire_by_id(ours.id(), SOON)?;
    ours.set_write_timeout(Some(Duration::from_millis(50)));
    let chunk = [7; 64 * 1024];
    while ours.write(&chunk).is_ok() {}
    ours.set_write_timeout(Some(TIMEOUT));
    // The peer makes room for the data before those of this write, at half time, and for no more.
    let (stop, stopped) = mpsc::channel::<()>();
    let peer = std::thread::spawn(move || {
        std::thread::sleep(TIMEOUT / 2);
        let mut data = vec![0; 64 * 1024];
        let read = theirs.read_exact(&mut data);
        let _ = stopped.recv_timeout(SOON);
        read
    });
    let began = MonotonicClock.now();
    let written = ours.write(&chunk);
    let took = MonotonicClock.now().since(began);
    assert!(written.is_ok(), "{written:?}");
    // With the whole timeout for each of the waits it would be half as much again.
    assert!(took >= TIMEOUT / 2 && took < TIMEOUT * 7 / 5, "{took:?}");
    drop(stop);
    peer.join().map_err(|_| "the peer panicked")??;
    Ok(())
}
