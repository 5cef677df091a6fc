//! Names that do not come from the machine at hand: of another machine, of peers, and made-up ids.

use std::net::IpAddr;
use std::sync::OnceLock;

use pool_proto::{
    Acquired, Action, Client, ClientConfig, ConnId, Dialing, Instant, Machine, Token, WaiterId,
};

/// Names of another machine, whose slots no machine here has.
pub fn foreign() -> (Token, WaiterId) {
    static FOREIGN: OnceLock<(Token, WaiterId)> = OnceLock::new();
    *FOREIGN.get_or_init(|| {
        let config = ClientConfig::builder().capacity(300..=300).max_dials(300).build().unwrap();
        let mut machine = Client::<u32>::new(&config, Instant::EPOCH);
        let dials =
            std::iter::from_fn(|| machine.poll_action()).filter_map(|action| match action {
                Action::Dial { token } => Some(token),
                _ => None,
            });
        let token = dials.last().unwrap();
        let queue = |machine: &mut Machine<u32, Dialing>| match machine.acquire(Instant::EPOCH) {
            Acquired::Queued(waiter) => waiter,
            other => panic!("{other:?}"),
        };
        let waiters = (0..300).map(|_| queue(&mut machine));
        (token, waiters.last().unwrap())
    })
}

/// An id that no machine makes: number 2 is the zero id, which names a control connection if there is
/// to be one.
pub const fn made(number: u8) -> ConnId {
    match number {
        2 => ConnId::ZERO,
        other => ConnId::from_bytes([0xff, 0xff, 0xff, other]),
    }
}

const PEERS: [&str; 7] = [
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.3",
    "::ffff:10.0.0.1",
    "2001:db8::1",
    "2001:db8::2",
    "192.0.2.1",
];

pub fn peer(number: u8) -> IpAddr {
    static PARSED: OnceLock<[IpAddr; 7]> = OnceLock::new();
    let parsed = PARSED.get_or_init(|| PEERS.map(|peer| peer.parse().unwrap()));
    parsed[usize::from(number) % parsed.len()]
}

pub fn nth<T: Copy>(from: &[T], number: u8) -> Option<T> {
    from.get(usize::from(number).checked_rem(from.len())?).copied()
}

pub fn nth_last<T: Copy>(from: &[T], number: u8) -> Option<T> {
    let back = usize::from(number).checked_rem(from.len())?;
    from.get(from.len() - 1 - back).copied()
}
