//! Tests of the detector of formats.

use super::*;
use crate::IdReader;

fn judge(detector: &FormatDetector, format: IdFormat, wire: &[u8]) -> Result<(), IdError> {
    let mut reader = IdReader::new(format);
    reader.feed(wire);
    let id = reader.poll().unwrap().unwrap();
    detector.judge(format, id, &reader.into_surplus())
}

#[test]
fn the_third_half_of_a_hex8_id_in_a_row_fails_and_all_after_it() {
    let detector = FormatDetector::new();
    let half = || judge(&detector, IdFormat::Raw4, b"0a1b2c3d");
    assert_eq!([half(), half()], [Ok(()), Ok(())]);
    for _ in 0..10 {
        assert_eq!(half(), Err(IdError::HalfOfHex8));
    }
}

#[test]
fn any_other_connection_starts_the_count_again() {
    let detector = FormatDetector::new();
    // Ids that are hex by chance: alone, with other data, with too little. Then other ids.
    let others: [&[u8]; 5] =
        [b"0a1b", b"0a1bGET ", b"0a1b2c3", b"\x00\x00\x00\x002c3d", b"\xf7\x1b2c3d2c3d"];
    for other in others {
        for _ in 1..FormatDetector::IN_A_ROW {
            assert_eq!(judge(&detector, IdFormat::Raw4, b"0a1b2c3dhello"), Ok(()));
        }
        assert_eq!(judge(&detector, IdFormat::Raw4, other), Ok(()), "{other:?}");
    }
}

#[test]
fn a_reader_of_hex8_is_never_suspected() {
    let detector = FormatDetector::new();
    for _ in 0..10 {
        assert_eq!(judge(&detector, IdFormat::Hex8, b"0a1b2c3d0a1b2c3d"), Ok(()));
    }
}

#[test]
fn random_raw_ids_before_hex_data_are_not_taken_for_hex_ids() {
    let detector = FormatDetector::new();
    let mut random = fastrand::Rng::with_seed(5);
    let mut alone = 0;
    for _ in 0..1_000_000 {
        let id = ConnId::from_bytes(random.u32(..).to_be_bytes());
        alone += u32::from(are_halves_of_hex8(id, b"cafe"));
        assert_eq!(detector.judge(IdFormat::Raw4, id, b"cafe"), Ok(()));
    }
    assert!(alone > 0, "no random id looked like hex");
}
