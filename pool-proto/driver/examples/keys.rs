//! Makes the identity of one end, if its file does not exist yet, and prints the fingerprint that the
//! other end pins.
//!
//! ```sh
//! cargo run --example keys -- server.pem tunnel.example
//! cargo run --example keys -- agent.pem agent.example
//! ```
//!
//! The file contains the private key: it stays where it is used. The fingerprint is public.

use std::env;
use std::process::ExitCode;

use pool_driver::tls::Identity;

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let Some(path) = arguments.next() else {
        eprintln!("usage: keys FILE NAME…, such as keys server.pem tunnel.example");
        return ExitCode::FAILURE;
    };
    match Identity::load_or_create(path, arguments) {
        Ok(identity) => println!("{}", identity.fingerprint()),
        Err(error) => {
            eprintln!("keys: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
