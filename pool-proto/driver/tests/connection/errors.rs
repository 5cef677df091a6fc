//! The errors of building a pool, and `polled`.

use std::error::Error as _;
use std::io;
use std::task::Poll;

use pool_driver::BuildError;
use pool_driver::connection::polled;
use pool_proto::{ClientConfig, ConfigError};

#[test]
fn the_errors_of_a_builder_say_what_to_do() {
    let source = || io::Error::other("why");
    let bind = BuildError::Bind { address: "0.0.0.0:80".to_owned(), source: source() };
    assert!(bind.to_string().starts_with("cannot listen on 0.0.0.0:80 (why); give a free"));
    let start = BuildError::Start { source: source() };
    assert!(start.to_string().contains("started (why); free threads or descriptors"));
    for error in [&bind, &start] {
        assert_eq!(error.source().unwrap().to_string(), "why");
    }
    assert!(BuildError::NoRuntime.to_string().contains("Runtime::enter"));
    assert!(BuildError::TlsRequired.to_string().contains("give them by tls(…)"));
    let authentication = BuildError::AuthenticationRequired { remedy: "pin it" };
    assert!(authentication.to_string().contains("accept any, or are custom ones"));
    assert!(authentication.to_string().contains("; pin it; for custom settings that authenticate"));
    let config = ClientConfig::builder().max_dials(0).build().unwrap_err();
    assert_eq!(config, ConfigError::Zero { setting: "max_dials" });
    assert_eq!(BuildError::from(config).to_string(), config.to_string());
}

#[test]
fn only_would_block_is_pending() {
    let would_block = io::Error::from(io::ErrorKind::WouldBlock);
    assert!(polled::<()>(Err(would_block)).is_pending());
    let Poll::Ready(Err(error)) = polled::<()>(Err(io::ErrorKind::TimedOut.into())) else {
        panic!("not an error")
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(matches!(polled(Ok(7)), Poll::Ready(Ok(7))));
}
