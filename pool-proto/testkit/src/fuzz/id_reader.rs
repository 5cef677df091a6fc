//! Ids on the wire in any fragmentation, against a parser that sees all bytes at once.

use bytes::Buf;
use pool_proto::{ConnId, IdError, IdFormat, IdReader, IdWriter, ParseIdError};

use super::choices::Choices;

/// The digits of an id, each at the place of its value.
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The bytes: how the reader is used, how many pieces there are, their lengths, the wire.
///
/// Fails if the reader's answer, its count of missing bytes or the surplus differs from the plain
/// parser's after any piece, if the writer does not write the id that was read, or if the text of an
/// id is parsed in another way.
pub fn id_reader(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let format = choices.of([IdFormat::Hex8, IdFormat::Raw4]);
    let straight = choices.flag();
    let frugal = choices.flag();
    let polls = !choices.flag();
    let pieces: Vec<usize> = (0..choices.below(16)).map(|_| choices.below(16)).collect();
    let wire = choices.rest();

    let mut reader = IdReader::new(format);
    let mut rest = wire;
    for piece in pieces.into_iter().chain([usize::MAX]) {
        // An adapter that must not read past the id asks how much is missing.
        let most = if frugal { reader.missing() } else { usize::MAX };
        let (piece, behind) = rest.split_at(piece.min(most).min(rest.len()));
        rest = behind;
        if straight {
            reader.buffer_mut().extend_from_slice(piece);
        } else {
            reader.feed(piece);
        }
        if polls {
            check_answer(&mut reader, format, &wire[..wire.len() - rest.len()]);
        }
    }
    let seen = &wire[..wire.len() - rest.len()];
    if frugal && polls {
        assert!(seen.len() <= format.wire_len(), "{} bytes were taken", seen.len());
    }
    check_end(reader, format, seen);
    check_text(wire);
}

/// The outcome of a whole stream: its id, or the reason for an error.
fn plainly(format: IdFormat, wire: &[u8]) -> Result<ConnId, IdError> {
    let expected = if format == IdFormat::Hex8 { 8 } else { 4 };
    let id = &wire[..wire.len().min(expected)];
    let wrong = id.iter().position(|byte| !DIGITS.contains(byte));
    match (format, wrong) {
        (IdFormat::Hex8, Some(offset)) => Err(IdError::NotHex { offset, byte: id[offset] }),
        _ if id.len() < expected => Err(IdError::Short { got: id.len(), expected }),
        (IdFormat::Hex8, None) => {
            let value = u32::from_str_radix(std::str::from_utf8(id).unwrap(), 16).unwrap();
            Ok(ConnId::from_bytes(value.to_be_bytes()))
        }
        (IdFormat::Raw4, _) => Ok(ConnId::from_bytes([id[0], id[1], id[2], id[3]])),
    }
}

/// In the middle of the stream, where too few bytes are not an error yet.
fn check_answer(reader: &mut IdReader, format: IdFormat, seen: &[u8]) {
    let (answer, missing) = match plainly(format, seen) {
        Err(IdError::Short { got, expected }) => (Ok(None), expected - got),
        Err(error) => (Err(error), 0),
        Ok(id) => (Ok(Some(id)), 0),
    };
    for _ in 0..2 {
        assert_eq!(reader.poll(), answer, "after {seen:?}");
        assert_eq!(reader.missing(), missing, "after {seen:?}");
    }
}

fn check_end(mut reader: IdReader, format: IdFormat, seen: &[u8]) {
    let expected = plainly(format, seen);
    for _ in 0..2 {
        assert_eq!(reader.end(), expected, "{seen:?}");
    }
    // Final: later bytes are not read.
    reader.feed(b"");
    assert_eq!(reader.missing(), 0);
    let surplus = match expected {
        Ok(id) => {
            check_writer(format, id, &seen[..format.wire_len()]);
            &seen[format.wire_len()..]
        }
        Err(error) => {
            reader.feed(b"0a1b2c3d");
            assert_eq!(reader.poll(), Err(error.clone()));
            assert!(!error.to_string().is_empty());
            &[]
        }
    };
    assert_eq!(reader.into_surplus(), surplus);
}

/// The writer writes the bytes that were read, however little the transport takes at a time.
fn check_writer(format: IdFormat, id: ConnId, wire: &[u8]) {
    for step in 1..=wire.len() + 1 {
        let mut writer = IdWriter::new(format, id);
        let mut written = Vec::new();
        while writer.has_remaining() {
            let chunk = writer.chunk();
            let taken = chunk.len().min(step);
            written.extend_from_slice(&chunk[..taken]);
            writer.advance(taken);
        }
        assert_eq!(written, wire, "{step} at a time");
        writer.advance(step);
        assert_eq!((writer.remaining(), writer.chunk()), (0, &[][..]));
    }
    assert_eq!(id.to_string().parse(), Ok(id));
    assert_eq!(ConnId::from_bytes(id.to_bytes()), id);
}

/// An id as users write it.
fn check_text(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let characters: Vec<char> = text.chars().collect();
    let wrong = characters
        .iter()
        .position(|character| !DIGITS.iter().any(|digit| char::from(*digit) == *character));
    let expected = match wrong {
        _ if characters.len() != 8 => Err(ParseIdError::Length { got: characters.len() }),
        Some(offset) => Err(ParseIdError::Character { offset, character: characters[offset] }),
        None => Ok(text.to_string()),
    };
    assert_eq!(text.parse::<ConnId>().map(|id| id.to_string()), expected, "{text:?}");
}
