//! Peers that are not pools.

use std::io::Write as _;
use std::time::Duration;

use pool_driver::Runtime as _;

use crate::engine::{Side, Sim};
use crate::network::SERVER;
use crate::runtime::Simulated;

/// A peer that is not a pool.
pub async fn stranger(sim: Sim) {
    let host = Simulated { sim: sim.clone(), side: Side::Stranger };
    let Ok(stream) = host.dial(SERVER).await else { return };
    let (manner, wait, hello) = sim.with(|state| {
        let rng = &mut state.rng;
        (rng.u32(..5), Duration::from_millis(rng.u64(..20_000)), rng.usize(1..40))
    });
    let mut kernel = Simulated::kernel(&stream);
    match manner {
        0 => sim.sleep(wait).await,
        // The begin of a ClientHello.
        1 => {
            let hello = [[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3].as_slice(), &[7; 40]].concat();
            for byte in hello {
                if kernel.write(&[byte]).is_err() {
                    break;
                }
                sim.sleep(wait / 50).await;
            }
        }
        2 => {
            let _ = kernel.write(b"GET / HTTP/1.1\r\n\r\n");
            sim.sleep(wait).await;
        }
        3 => {
            let _ = kernel.write(&vec![0; hello]);
            stream.reset();
        }
        _ => {}
    }
}
