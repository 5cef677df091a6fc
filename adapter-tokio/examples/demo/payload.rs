//! What visitors send: random bytes that anyone who reads the first twelve can make again, so that
//! the service checks what comes and the visitor checks what comes back.

use crate::Failure;

/// The visitor's number, and how many random bytes follow.
const HEADER: usize = 12;

/// The largest random part.
const LARGEST: u32 = 256 * 1024;

/// How much a visitor sends after the header.
#[derive(Clone, Copy)]
pub(crate) enum Size {
    /// 1 byte to 256 KiB, every power of two as likely as the next.
    Mixed,
    /// The same for all.
    Fixed(u32),
}

fn random(visitor: u64) -> fastrand::Rng {
    fastrand::Rng::with_seed(visitor.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// All that a visitor sends.
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

/// Compares what comes, piece by piece, with what has to come.
pub(crate) struct Checker {
    expected: Vec<u8>,
    seen: usize,
}

impl Checker {
    pub(crate) const fn new(expected: Vec<u8>) -> Self {
        Self { expected, seen: 0 }
    }

    /// A checker for the stream that begins with `header`, none of which counts as seen yet.
    pub(crate) fn from_header(header: &[u8; HEADER]) -> Result<Self, Failure> {
        let (visitor, size) = header.split_at(8);
        let visitor = u64::from_be_bytes(visitor.try_into()?);
        let size = u32::from_be_bytes(size.try_into()?);
        if size > LARGEST {
            return Err(format!("a header announces {size} bytes: it is corrupt").into());
        }
        Ok(Self::new(content(visitor, size)))
    }

    /// Every byte of the next piece.
    pub(crate) fn check(&mut self, piece: &[u8]) -> Result<(), Failure> {
        let end = self.seen + piece.len();
        let Some(expected) = self.expected.get(self.seen..end) else {
            let length = self.expected.len();
            return Err(format!("{end} bytes came, {length} were sent").into());
        };
        if let Some(at) = expected.iter().zip(piece).position(|(a, b)| a != b) {
            return Err(format!("byte {} is not what was sent", self.seen + at).into());
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
