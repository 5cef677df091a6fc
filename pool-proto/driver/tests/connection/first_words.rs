//! The first data of a client with TLS that has met a server without, and of a peer without opening bytes.

use pool_driver::shared::PoolConnection as _;
use pool_proto::{Accepting, CheckResult, Dialing};

use crate::rig::{AnyPool, Pool, Side};
use crate::wire::End;

/// The beginning of a TLS record with a ClientHello (RFC 8446, sections 5.1 and 4).
const HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

fn cause<R: Side>(pool: &Pool<R>) -> Option<String> {
    pool.shared().last_failure().map(|text| text.to_string())
}

#[test]
fn a_client_hello_to_a_server_without_tls_is_named() {
    let mut pool = Pool::<Accepting>::new(false);
    let (_near, mut peer) = pool.connect();
    peer.send(HELLO);
    pool.turn();
    let cause = cause(&pool).unwrap();
    let address = "192.0.2.1:";
    assert!(
        cause.starts_with(address) && cause.contains("began with a TLS ClientHello"),
        "{cause}"
    );
    assert!(cause.contains("configure TLS on both ends or on neither"), "{cause}");
    assert_eq!((pool.stats().claimed, pool.stats().handshaking), (1, 0));
}

/// The success of the handshake, which is reported after the first check, does not hide it.
#[test]
fn a_client_hello_that_came_during_the_handshake_is_named() {
    let mut pool = Pool::<Accepting>::new(false);
    let (near, far) = End::pair();
    let mut peer = pool.peer(far);
    let (attempt, handshake) = Accepting::begin(&mut pool);
    peer.send(HELLO);
    let established = pool.complete_handshake(handshake, &near, &mut peer);
    attempt.complete(Ok((pool_driver::connection::SharedSocket::new(near), established)));
    assert!(cause(&pool).unwrap().contains("TLS ClientHello"));
}

/// A client that has read the id in place of a ServerHello gives up at once.
#[test]
fn a_client_hello_before_a_close_is_named() {
    let mut pool = Pool::<Accepting>::new(false);
    let (_near, mut peer) = pool.connect();
    peer.send(HELLO);
    peer.close();
    pool.turn();
    let cause = cause(&pool).unwrap();
    assert!(cause.contains("began with a TLS ClientHello"), "{cause}");
    assert_eq!(pool.stats().finished, 1);
}

#[test]
fn other_first_words_are_not_named() {
    for words in [&b"GET / HTTP/1.1\r\n"[..], &HELLO[..5], b"\x15\x03\x03\x00\x02\x02\x28"] {
        let mut pool = Pool::<Accepting>::new(false);
        let (_near, mut peer) = pool.connect();
        peer.send(words);
        pool.turn();
        assert_eq!((cause(&pool), pool.stats().claimed), (None, 1), "{words:?}");
        peer.send(HELLO);
        pool.turn();
        assert_eq!(cause(&pool), None, "{words:?}");
    }
}

/// A client that has been served before sends data of its user.
#[test]
fn a_client_hello_after_a_use_is_the_users() {
    let mut pool = Pool::<Accepting>::new(false);
    let (_near, mut peer) = pool.connect();
    let leased = AnyPool::take(&pool).unwrap();
    pool.put(leased).unwrap();
    peer.send(HELLO);
    pool.turn();
    assert_eq!((cause(&pool), pool.stats().claimed), (None, 1));
}

/// Their peers do not speak TLS first, or the TLS is theirs.
#[test]
fn a_client_hello_to_other_ends_is_the_users() {
    let mut pool = Pool::<Accepting>::new(true);
    let (_near, mut peer) = pool.connect();
    peer.send(HELLO);
    pool.turn();
    assert_eq!((cause(&pool), pool.stats().claimed), (None, 1));
    let mut pool = Pool::<Dialing>::new(false);
    let (_near, mut peer) = pool.connect();
    peer.send(HELLO);
    pool.turn();
    assert_eq!((cause(&pool), pool.stats().claimed), (None, 1));
}

/// The byte tells which protocol it speaks instead.
#[test]
fn a_peer_that_begins_without_the_opening_byte_is_named_with_its_byte() {
    let mut pool = Pool::<Accepting>::new(false);
    let (_near, mut peer) = pool.connect();
    let mut leased = AnyPool::take(&pool).unwrap();
    peer.send(b"GET / HTTP/1.1\r\n");
    assert_eq!(leased.get_mut().check(), CheckResult::Data);
    assert!(!leased.get_mut().take_opening());
    let cause = cause(&pool).unwrap();
    let begin = "began with the byte 0x47, not with the opening byte";
    assert!(cause.starts_with("192.0.2.1:") && cause.contains(begin), "{cause}");
    assert!(cause.contains("set opening_byte at both ends or at neither"), "{cause}");
}
