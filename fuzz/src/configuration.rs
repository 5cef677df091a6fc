//! stub
/// stub
pub fn configuration(_bytes: &[u8]) {}
