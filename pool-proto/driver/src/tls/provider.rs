//! The provider of the constructors that take none.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
// `ring` is a default feature, so a build with both has asked for this one by name.
#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs::default_provider;
#[cfg(not(feature = "aws-lc-rs"))]
use rustls::crypto::ring::default_provider;

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}
