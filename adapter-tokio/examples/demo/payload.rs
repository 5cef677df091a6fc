//! The data of visitors: pseudo-random bytes that follow from a header of twelve bytes. So the
//! service can check the data that it receives, and the visitor can check the echo.

use crate::Failure;

/// The size of the header: the visitor's number, and the number of random bytes.
const HEADER: usize = 12;

/// The largest random part.
const LARGEST: u32 = 256 * 1024;

/// The number of bytes that a visitor sends after the header.
#[derive(Clone, Copy)]
pub(crate) enum Size {
    /// 1 byte to 256 KiB, each power of two with the same probability.
    Mixed,
    /// The same number for all visitors.
    Fixed(u32),
}

fn random(visitor: u64) -> fastrand::Rng {
    fastrand::Rng::with_seed(visitor.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Returns all bytes that a visitor sends.
pub(crate) fn payload(visitor: u64, size: Size) -> Vec<u8> {
    let size = match size {
        Size::Fixed(size) => size,
        Size::Mixed => {
            let mut random = fastrand::Rng::with_seed(!visitor);
            let power = random.u32(0..=18);
            random.u32(1..=1 << power).min(LARGEST)
        }
    };
    content(visitor, size)
}

fn content(visitor: u64, size: u32) -> Vec<u8> {
    let mut body = vec![0; usize::try_from(size).unwrap_or(0)];
    random(visitor).fill(&mut body);
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend_from_slice(&visitor.to_be_bytes());
    bytes.extend_from_slice(&size.to_be_bytes());
    bytes.append(&mut body);
    bytes
}

/// Compares received data with the expected data, piece by piece.
pub(crate) struct Checker {
    expected: Vec<u8>,
    seen: usize,
}

impl Checker {
    pub(crate) const fn new(expected: Vec<u8>) -> Self {
        Self { expected, seen: 0 }
    }

    /// Returns a checker for the stream that begins with `header`. The header does not count as
    /// seen yet.
    pub(crate) fn from_header(header: &[u8; HEADER]) -> Result<Self, Failure> {
        let (visitor, size) = header.split_at(8);
        let visitor = u64::from_be_bytes(visitor.try_into()?);
        let size = u32::from_be_bytes(size.try_into()?);
        if size > LARGEST {
            return Err(format!("a corrupt header announces {size} bytes").into());
        }
        Ok(Self::new(content(visitor, size)))
    }

    /// Checks every byte of the next piece.
    pub(crate) fn check(&mut self, piece: &[u8]) -> Result<(), Failure> {
        let end = self.seen + piece.len();
        let Some(expected) = self.expected.get(self.seen..end) else {
            let length = self.expected.len();
            return Err(format!("{end} bytes arrived, {length} were sent").into());
        };
        if let Some(at) = expected.iter().zip(piece).position(|(a, b)| a != b) {
            return Err(
                format!("byte {} differs from the one that was sent", self.seen + at).into()
            );
        }
        self.seen = end;
        Ok(())
    }

    pub(crate) const fn complete(&self) -> bool {
        self.seen == self.expected.len()
    }

    pub(crate) const fn seen(&self) -> usize {
        self.seen
    }
}
