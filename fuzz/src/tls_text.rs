//! stub
/// stub
pub fn tls_text(_bytes: &[u8]) {}
