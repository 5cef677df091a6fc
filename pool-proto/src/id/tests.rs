//! Tests of ids on the wire: value, reader, writer and error texts.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytes::Buf;

use super::*;

const ID: ConnId = ConnId::from_bytes([0x0a, 0x1b, 0x2c, 0x3d]);

fn fed(format: IdFormat, bytes: &[u8]) -> IdReader {
    let mut reader = IdReader::new(format);
    reader.feed(bytes);
    reader
}

fn message_for(bytes: &[u8]) -> String {
    fed(IdFormat::Hex8, bytes).poll().unwrap_err().to_string()
}

#[test]
fn by_default_ids_travel_as_hex() {
    assert_eq!(IdExchange::default(), IdExchange::Wire(IdFormat::Hex8));
}

#[test]
fn wire_lengths_are_those_of_the_protocol() {
    assert_eq!((IdFormat::Hex8.wire_len(), IdFormat::Raw4.wire_len()), (8, 4));
}

#[test]
fn bytes_survive_the_id() {
    assert_eq!(ID.to_bytes(), [0x0a, 0x1b, 0x2c, 0x3d]);
}

#[test]
fn zero_is_four_zero_bytes() {
    assert_eq!(ConnId::ZERO, ConnId::from_bytes([0; 4]));
    assert_eq!(ConnId::ZERO.to_string(), "00000000");
}

#[test]
fn display_is_lower_case_hex_of_every_nibble() {
    assert_eq!(ID.to_string(), "0a1b2c3d");
    assert_eq!(ConnId::from_bytes([0x01, 0x23, 0x45, 0x67]).to_string(), "01234567");
    assert_eq!(ConnId::from_bytes([0x89, 0xab, 0xcd, 0xef]).to_string(), "89abcdef");
}

#[test]
fn display_honours_width_and_alignment() {
    assert_eq!(format!("{ID:>10}|{ID:<9}|"), "  0a1b2c3d|0a1b2c3d |");
}

#[test]
fn debug_names_the_type_and_the_text() {
    assert_eq!(format!("{ID:?}"), "ConnId(0a1b2c3d)");
}

#[test]
fn order_is_that_of_the_text() {
    let low = ConnId::from_bytes([0x00, 0xff, 0xff, 0xff]);
    let high = ConnId::from_bytes([0x01, 0x00, 0x00, 0x00]);
    assert!(low < high && low.to_string() < high.to_string());
}

#[test]
fn equal_ids_are_one_key() {
    let keys: BTreeSet<_> = [ID, ID, ConnId::ZERO].into_iter().collect();
    assert_eq!(keys.len(), 2);
}

#[test]
fn the_text_of_an_id_parses() {
    assert_eq!("0a1b2c3d".parse(), Ok(ID));
}

#[test]
fn a_text_of_another_length_is_refused_with_its_length() {
    for (text, got) in [("", 0), ("0a1b2c3", 7), ("0a1b2c3d4", 9)] {
        let error = text.parse::<ConnId>().unwrap_err();
        assert_eq!(error, ParseIdError::Length { got });
        assert!(error.to_string().contains(&format!("has {got}")), "{error}");
    }
}

#[test]
fn length_is_counted_in_characters() {
    // 8 bytes, but 7 characters.
    assert_eq!("0a1b2cé".parse::<ConnId>(), Err(ParseIdError::Length { got: 7 }));
}

#[test]
fn a_wrong_character_is_named_with_its_place() {
    for (text, offset, character) in
        [("0a1b2c3g", 7, 'g'), ("+a1b2c3d", 0, '+'), ("0a1é2c3d", 3, 'é'), ("0a𝟘b2c3d", 2, '𝟘')]
    {
        let error = text.parse::<ConnId>().unwrap_err();
        assert_eq!(error, ParseIdError::Character { offset, character });
        let ending = format!("{character:?} is at offset {offset}");
        assert!(error.to_string().ends_with(&ending), "{error}");
    }
}

#[test]
fn an_upper_case_character_is_refused_with_advice() {
    let error = "0A1b2c3d".parse::<ConnId>().unwrap_err();
    assert_eq!(error, ParseIdError::Character { offset: 1, character: 'A' });
    assert!(error.to_string().ends_with("'A' is at offset 1: write it in lower case"));
}

#[test]
fn the_neighbours_of_the_digits_are_not_digits() {
    for byte in *b"/:`g@G" {
        assert_eq!(hex_value(byte), None, "{byte}");
    }
}

#[test]
fn a_hex_id_in_one_piece_is_read() {
    let mut reader = fed(IdFormat::Hex8, b"0a1b2c3d");
    assert_eq!(reader.poll(), Ok(Some(ID)));
    assert!(reader.into_surplus().is_empty());
}

#[test]
fn a_raw_id_in_one_piece_is_read() {
    let mut reader = fed(IdFormat::Raw4, &[0x0a, 0x1b, 0x2c, 0x3d]);
    assert_eq!(reader.poll(), Ok(Some(ID)));
    assert!(reader.into_surplus().is_empty());
}

#[test]
fn missing_counts_down_while_bytes_trickle_in() {
    for (format, wire) in
        [(IdFormat::Hex8, &b"0a1b2c3d"[..]), (IdFormat::Raw4, &[0x0a, 0x1b, 0x2c, 0x3d])]
    {
        let mut reader = IdReader::new(format);
        for (index, byte) in wire.iter().enumerate() {
            assert_eq!(reader.poll(), Ok(None));
            assert_eq!(reader.missing(), wire.len() - index);
            reader.feed(&[*byte]);
        }
        assert_eq!(reader.missing(), 0);
        assert_eq!(reader.poll(), Ok(Some(ID)));
        assert_eq!(reader.missing(), 0);
    }
}

#[test]
fn bytes_after_the_id_come_out_unchanged() {
    let mut reader = fed(IdFormat::Hex8, b"0a1b2c3d\x00\xffGET");
    assert_eq!(reader.poll(), Ok(Some(ID)));
    reader.feed(b" /");
    assert_eq!(reader.into_surplus(), &b"\x00\xffGET /"[..]);
}

#[test]
fn user_data_that_looks_like_an_id_stays_user_data() {
    let mut reader = fed(IdFormat::Hex8, b"0a1b2c3d00000000");
    assert_eq!((reader.poll(), reader.poll()), (Ok(Some(ID)), Ok(Some(ID))));
    assert_eq!(reader.into_surplus(), "00000000");
}

#[test]
fn an_id_that_was_not_polled_for_is_not_surplus() {
    assert_eq!(fed(IdFormat::Hex8, b"0a1b2c3dxy").into_surplus(), "xy");
}

#[test]
fn there_is_no_surplus_without_an_id() {
    assert!(fed(IdFormat::Hex8, b"0a1b").into_surplus().is_empty());
    assert!(fed(IdFormat::Hex8, b"hello, world").into_surplus().is_empty());
}

#[test]
fn an_adapter_can_read_into_the_buffer() {
    let mut reader = IdReader::new(IdFormat::Raw4);
    reader.buffer_mut().extend_from_slice(&[0x0a, 0x1b, 0x2c, 0x3d, 0x99]);
    assert_eq!(reader.poll(), Ok(Some(ID)));
    assert_eq!(reader.into_surplus(), &[0x99][..]);
}

#[test]
fn a_wrong_byte_is_reported_before_the_rest_is_there() {
    let mut reader = fed(IdFormat::Hex8, b"0a1");
    assert_eq!(reader.poll(), Ok(None));
    reader.feed(b"x");
    assert_eq!(reader.poll(), Err(IdError::NotHex { offset: 3, byte: b'x' }));
}

#[test]
fn the_first_of_several_wrong_bytes_is_reported() {
    let mut reader = fed(IdFormat::Hex8, b"0x1z");
    assert_eq!(reader.poll(), Err(IdError::NotHex { offset: 1, byte: b'x' }));
}

#[test]
fn the_last_byte_of_an_id_is_checked_and_the_next_byte_is_not() {
    let mut wrong = fed(IdFormat::Hex8, b"0a1b2c3x");
    assert_eq!(wrong.poll(), Err(IdError::NotHex { offset: 7, byte: b'x' }));
    assert_eq!(fed(IdFormat::Hex8, b"0a1b2c3dx").poll(), Ok(Some(ID)));
}

#[test]
fn an_error_is_final_and_takes_no_more_bytes() {
    let mut reader = fed(IdFormat::Hex8, b"x");
    let error = IdError::NotHex { offset: 0, byte: b'x' };
    assert_eq!(reader.poll(), Err(error.clone()));
    assert_eq!(reader.missing(), 0);
    reader.feed(b"0a1b2c3d");
    assert_eq!(reader.buffer_mut().len(), 1);
    reader.buffer_mut().clear();
    reader.buffer_mut().extend_from_slice(b"0a1b2c3d");
    assert_eq!(reader.poll(), Err(error.clone()));
    assert_eq!(reader.end(), Err(error));
    assert!(reader.into_surplus().is_empty());
}

#[test]
fn a_stream_that_ends_within_the_id_is_short() {
    for (format, expected) in [(IdFormat::Hex8, 8), (IdFormat::Raw4, 4)] {
        for got in 0..expected {
            let bytes: Vec<u8> = b"0a1b2c3d".iter().copied().take(got).collect();
            let error = fed(format, &bytes).end().unwrap_err();
            assert_eq!(error, IdError::Short { got, expected });
        }
    }
}

#[test]
fn a_short_id_is_final() {
    let mut reader = fed(IdFormat::Hex8, b"0a1b");
    let short = IdError::Short { got: 4, expected: 8 };
    assert_eq!(reader.end(), Err(short.clone()));
    reader.feed(b"2c3d");
    assert_eq!(reader.poll(), Err(short.clone()));
    assert_eq!(reader.end(), Err(short));
}

#[test]
fn a_stream_that_ends_after_the_id_is_complete() {
    let mut reader = fed(IdFormat::Hex8, b"0a1b2c3d!");
    assert_eq!((reader.end(), reader.end()), (Ok(ID), Ok(ID)));
    assert_eq!(reader.into_surplus(), "!");
}

#[test]
fn a_wrong_byte_before_the_end_is_the_better_error() {
    let error = fed(IdFormat::Hex8, b"x").end().unwrap_err();
    assert_eq!(error, IdError::NotHex { offset: 0, byte: b'x' });
}

#[test]
fn debug_does_not_show_user_data() {
    let mut reader = fed(IdFormat::Hex8, b"0a1b2c3dsecret");
    assert_eq!(reader.poll(), Ok(Some(ID)));
    assert_eq!(
        format!("{reader:?}"),
        "IdReader { format: Hex8, state: Whole(ConnId(0a1b2c3d)), buffered: 6 }"
    );
}

#[test]
fn message_for_an_upper_case_letter() {
    assert_eq!(
        message_for(b"0a1bA"),
        "expected a connection id of 8 characters 0-9a-f, but byte 0x41 ('A') came at offset \
         4: an upper-case letter, the peer must write its ids in lower case; if the peer sends \
         Raw4 ids, configure IdFormat::Raw4"
    );
}

/// Any byte may belong to a `Raw4` id, so nothing is claimed about one in its place.
#[test]
fn message_for_a_printable_byte_of_a_raw_id() {
    for byte in (0..=u8::MAX).filter(|byte| hex_value(*byte).is_none()) {
        for id in [&[byte][..], &[b'0', byte], &[b'0', b'a', b'1', byte]] {
            let message = message_for(id);
            assert!(message.contains("configure IdFormat::Raw4"), "{message}");
            for claim in ["the peer sends text", ": an upper-case letter"] {
                assert!(!message.contains(claim), "{message}");
            }
        }
    }
    let message = message_for(b"0a1b~");
    assert!(message.contains("the peer sends text that is not an id"), "{message}");
}

#[test]
fn message_for_a_tls_peer_on_a_plaintext_port() {
    for bytes in [b"\x15\x03\x03", b"\x16\x03\x01"] {
        let message = message_for(bytes);
        assert!(message.contains("TLS to a plaintext port"), "{message}");
    }
    let message = message_for(b"\x15");
    assert!(message.contains("byte 0x15 came at offset 0"), "{message}");
}

#[test]
fn message_for_bytes_of_a_raw_id() {
    // Also if they look like something else by chance.
    for bytes in [&b"\xc3"[..], b"\x00", b"\x7f", b"ab\x15", b"\x17", b"\x16", b"A", b"~"] {
        let message = message_for(bytes);
        assert!(message.contains("configure IdFormat::Raw4"), "{message}");
    }
}

#[test]
fn message_for_a_peer_that_sends_no_id() {
    for bytes in [&b"HTTP/1.1"[..], b"SSH-2.0", b"220 ", b"\r\n", b"GET", b"g", b"~", b"\t"] {
        let message = message_for(bytes);
        assert!(message.contains("IdExchange::None"), "{message}");
    }
}

#[test]
fn message_for_a_peer_that_says_nothing() {
    assert_eq!(
        fed(IdFormat::Hex8, b"").end().unwrap_err().to_string(),
        "expected a connection id of 8 bytes, but the peer ended the stream after 0: it \
         refuses this connection (an allow list or a limit of its own), or it sends no ids at \
         all and IdExchange::None is to be configured, or it waits for TLS"
    );
}

#[test]
fn message_for_a_cut_connection() {
    let message = fed(IdFormat::Raw4, b"abc").end().unwrap_err().to_string();
    assert!(message.contains("of 4 bytes"), "{message}");
    assert!(message.contains("after 3: the connection was cut"), "{message}");
}

#[test]
fn the_writer_gives_the_wire_bytes() {
    assert_eq!(IdWriter::new(IdFormat::Hex8, ID).chunk(), b"0a1b2c3d");
    assert_eq!(IdWriter::new(IdFormat::Raw4, ID).chunk(), [0x0a, 0x1b, 0x2c, 0x3d]);
}

#[test]
fn partial_writes_leave_the_rest() {
    let mut writer = IdWriter::new(IdFormat::Hex8, ID);
    writer.advance(3);
    assert_eq!((writer.remaining(), writer.chunk()), (5, &b"b2c3d"[..]));
    writer.advance(0);
    writer.advance(5);
    assert!(!writer.has_remaining() && writer.chunk().is_empty());
}

#[test]
fn advancing_too_far_ends_the_writer() {
    for format in [IdFormat::Hex8, IdFormat::Raw4] {
        let mut writer = IdWriter::new(format, ID);
        writer.advance(1);
        writer.advance(usize::MAX);
        assert_eq!((writer.remaining(), writer.chunk()), (0, &b""[..]));
    }
}
