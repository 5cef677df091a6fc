//! stub
/// stub
pub fn pair_script(_bytes: &[u8]) {}
