//! Parsers against a few thousand seeded random and mutated inputs: they may refuse, never panic, never accept silently.

use super::support::{append, check, disk, event, fill, fsck_of, nothing, open};
use crate::format::{FrameHeader, SegmentHeader, segment_file, segment_id};
use crate::frame::{At, Chain, Frame, Prepared, encode, find_sound_after, look};
use crate::sim::Chance;
use crate::{Error, Location};

fn mutate(bytes: &mut Vec<u8>, chance: &mut Chance) {
    for _ in 0..=chance.below(4) {
        let len = bytes.len() as u64;
        let at = chance.below(len) as usize;
        match chance.below(6) {
            0 => bytes[at] ^= 1 << chance.below(8),
            1 => bytes[at] = chance.next_u64() as u8,
            2 => bytes.truncate(at.max(1)),
            3 => bytes.splice(at..at, [0xFF; 4]).for_each(drop),
            4 => bytes[at..].iter_mut().take(8).for_each(|byte| *byte = 0xFF),
            _ => {
                let from = chance.below(len) as usize;
                let piece: Vec<u8> = bytes[from..].iter().take(40).copied().collect();
                for (place, byte) in bytes[at..].iter_mut().zip(piece) {
                    *place = byte;
                }
            }
        }
    }
}

#[test]
fn frames() {
    let events: Vec<_> = (0..5).map(event).map(Prepared::new).collect();
    let chain = Chain {
        next_seq: 9,
        prev_hash: [3; 32],
        epoch: 2,
    };
    let mut good = Vec::new();
    let encoded = encode(&mut good, events.iter(), 4, 4096, &chain);
    let frame = Frame::verify(&good).unwrap();
    assert_eq!(frame.hash, encoded.hash);
    assert!(frame.follows(&chain, 4));
    let mut chance = Chance(1);
    for _ in 0..4000 {
        let mut bytes = good.clone();
        mutate(&mut bytes, &mut chance);
        if let Ok(same) = Frame::verify(&bytes) {
            let verified = same.header.sealed_at() as usize;
            assert_eq!(
                bytes[..verified],
                good[..verified],
                "accepted something else"
            );
        }
        FrameHeader::decode(&bytes);
        find_sound_after(&bytes, 0, 4, 0);
        let mut noise: Vec<u8> = (0..300).map(|_| chance.next_u64() as u8).collect();
        noise[..4].copy_from_slice(b"SGFR");
        assert!(Frame::verify(&noise).is_err());
        assert!(matches!(look(&noise, 0), At::Bad(_)));
    }
}

#[test]
fn frames_whose_checksums_are_right_but_whose_fields_lie() {
    // Whoever can write the disk can also compute a CRC: lengths and counts are checked against the bytes, not believed.
    let chain = Chain {
        next_seq: 0,
        prev_hash: [3; 32],
        epoch: 2,
    };
    let mut good = Vec::new();
    encode(
        &mut good,
        [event(3), event(4)].map(Prepared::new).iter(),
        0,
        4096,
        &chain,
    );
    let header = FrameHeader::decode(&good).unwrap();
    let with = |change: &dyn Fn(&mut FrameHeader)| {
        let mut lying = header.clone();
        change(&mut lying);
        let mut bytes = good.clone();
        lying.encode_into(&mut bytes);
        let meta_end = (80 + lying.meta_len as usize).min(bytes.len());
        let hash = crate::format::frame_hash(&bytes[..80], &bytes[80..meta_end]);
        crate::bytes::put(&mut bytes, meta_end, &hash);
        matches!(look(&bytes, 0), At::Frame(_))
    };
    assert!(with(&|_| {}));
    assert!(!with(&|h| h.count = 1));
    assert!(!with(&|h| h.count = 3));
    assert!(!with(&|h| h.count = u32::MAX));
    assert!(!with(&|h| h.count = 0));
    assert!(!with(&|h| h.meta_len -= 1));
    assert!(!with(&|h| h.meta_len = u32::MAX));
    assert!(!with(&|h| h.sealed_len -= 1));
    assert!(!with(&|h| h.sealed_len = u32::MAX));
    assert!(!with(&|h| h.first_seq = u64::MAX));
}

#[test]
fn segment_headers_and_locations() {
    let memory = disk(1);
    let good = memory.contents(&segment_file(0)).unwrap()[..4096].to_vec();
    let header = SegmentHeader::decode(&good, "x").unwrap();
    assert_eq!(header.encode(), good);
    let mut chance = Chance(2);
    for _ in 0..3000 {
        let mut bytes = good.clone();
        mutate(&mut bytes, &mut chance);
        match SegmentHeader::decode(&bytes, "x") {
            Ok(same) => assert_eq!(same.encode()[..], bytes[..4096]),
            Err(Error::Damaged { .. } | Error::Unsupported { .. }) => {}
            Err(other) => panic!("{other}"),
        }
        let len = chance.below(60) as usize;
        let noise: Vec<u8> = (0..len).map(|_| chance.next_u64() as u8).collect();
        assert_eq!(Location::from_bytes(&noise).is_some(), len == Location::LEN);
        if let Some(location) = Location::from_bytes(&noise) {
            assert_eq!(location.to_bytes()[..], noise);
        }
    }
    assert_eq!(segment_id("00000012.seg"), Some(12));
    for wrong in [
        "12.seg",
        "000000012.seg",
        "+0000012.seg",
        "00000012.tmp",
        "spare-1.seg",
        "",
    ] {
        assert_eq!(segment_id(wrong), None, "{wrong}");
    }
}

#[test]
fn whole_journals_with_random_damage() {
    let pristine = disk(1);
    let (journal, _) = open(&pristine).unwrap();
    fill(&journal, 0..50);
    append(&journal, 50..54).unwrap();
    let locations: Vec<_> = (0..54).map(|seq| journal.locate(seq).unwrap()).collect();
    drop(journal);
    let files: Vec<(String, Vec<u8>)> = crate::Io::list(&pristine)
        .unwrap()
        .into_iter()
        .filter(|name| segment_id(name).is_some())
        .map(|name| (name.clone(), pristine.contents(&name).unwrap()))
        .collect();
    let mut chance = Chance(3);
    let (mut refused, mut started) = (0, 0);
    for round in 0..1500 {
        let memory = crate::sim::Memory::new(round);
        for (name, bytes) in &files {
            memory.place(name, bytes.clone());
        }
        let (name, bytes) = &files[chance.below(files.len() as u64) as usize];
        let mut bytes = bytes.clone();
        let len = bytes.len();
        mutate(&mut bytes, &mut chance);
        bytes.resize(len, 0);
        memory.place(name, bytes);
        let clean = fsck_of(&memory).is_clean();
        match open(&memory) {
            Ok((journal, recovery)) => {
                started += 1;
                // Whatever is handed out is right; whatever is not is named.
                for (location, seq) in locations.iter().zip(0..recovery.next_seq) {
                    if let Ok(sealed) = journal.read(location) {
                        assert_eq!(sealed.body, event(seq).body);
                    }
                    if let Ok(leaf) = journal.read_leaf(seq) {
                        assert_eq!(leaf, event(seq).leaf);
                    }
                }
                if clean {
                    check(&journal, &(0..54).collect::<Vec<_>>(), &nothing());
                }
            }
            Err(_) => {
                assert!(!clean, "fsck must see what the start refuses");
                refused += 1;
            }
        }
    }
    assert!(
        refused > 300 && started > 100,
        "{refused} refused, {started} started"
    );
}
