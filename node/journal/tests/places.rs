//! One flipped byte at every kind of place, every truncation, swapped and stale files: each has its stated outcome.

use super::support::{
    SEGMENT, all, append, check, disk, events, fill, fsck_of, nothing, open, open_with, seen,
};
use crate::format::{FrameHeader, SegmentHeader, segment_file};
use crate::sim::Memory;
use crate::{DamageKind, Error, Journal, Part, Watermarks};

/// A kind of place inside a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Header,
    Meta,
    State(u64),
    Sealed(u64),
    Padding,
}

/// A frame as it lies on disk, cut into places.
struct Laid {
    offset: u64,
    header: FrameHeader,
    places: Vec<(u64, Place)>,
}

/// The frames of a segment, every byte of them named.
fn lay_out(memory: &Memory, journal: &Journal, id: u32) -> Vec<Laid> {
    let bytes = memory.contents(&segment_file(id)).unwrap();
    let mut frames = Vec::new();
    let mut offset = 4096;
    while let Some(header) = FrameHeader::decode(&bytes[offset as usize..]) {
        let mut places = Vec::new();
        let mut at = offset;
        let mut take = |len: u64, place| {
            places.extend((at..at + len).map(|byte| (byte, place)));
            at += len;
        };
        take(80, Place::Header);
        take(u64::from(header.meta_len) + 32, Place::Meta);
        for seq in header.first_seq..header.next_seq() {
            take(1, Place::State(seq));
            take(
                journal.locate(seq).unwrap().sealed_len(),
                Place::Sealed(seq),
            );
        }
        take(header.len() - header.content_len(), Place::Padding);
        // Long parts are sampled; their first and last bytes, and all short parts, are always there.
        let kinds: Vec<Place> = places.iter().map(|(_, place)| *place).collect();
        let mut index = 0;
        places.retain(|(byte, place)| {
            let edge = index == 0
                || kinds[index - 1] != *place
                || kinds.get(index + 1).is_none_or(|next| next != place);
            index += 1;
            edge || byte % 7 == 0 || !matches!(place, Place::Meta | Place::Sealed(_))
        });
        let next = offset + header.len();
        frames.push(Laid {
            offset,
            header,
            places,
        });
        offset = next;
    }
    frames
}

/// Three segments; in the last: a frame of one, a frame of three, a frame of one, a frame of two events.
fn three_segments() -> (Memory, u64) {
    let memory = disk(1);
    let (journal, _) = open(&memory).unwrap();
    let mut count = 0;
    while journal.status().segments < 3 {
        fill(&journal, count..count + 1);
        count += 1;
    }
    append(&journal, count..count + 3).unwrap();
    append(&journal, count + 3..count + 4).unwrap();
    append(&journal, count + 4..count + 6).unwrap();
    assert_eq!(journal.status().segments, 3);
    (memory, count + 6)
}

/// Flips one byte, runs the check, flips it back.
fn with_flip(memory: &Memory, file: &str, at: u64, check: impl FnOnce()) {
    let mask = 1 << (at % 8);
    assert!(memory.flip(file, at, mask));
    check();
    assert!(memory.flip(file, at, mask));
}

#[test]
fn last_segment_before_the_last_frame() {
    let (memory, count) = three_segments();
    let (journal, _) = open(&memory).unwrap();
    let frames = lay_out(&memory, &journal, 2);
    drop(journal);
    let file = segment_file(2);
    for pair in frames.windows(2) {
        let (frame, next) = (&pair[0], &pair[1]);
        for (at, place) in &frame.places {
            with_flip(&memory, &file, *at, || {
                let report = fsck_of(&memory);
                let opened = open(&memory);
                match place {
                    Place::Header | Place::Meta => {
                        let Err(Error::MidLogDamage {
                            file: named,
                            offset,
                            next_valid_seq,
                            ..
                        }) = opened
                        else {
                            panic!("{place:?} at {at}: {opened:?}");
                        };
                        assert_eq!((named, offset), (file.clone(), frame.offset));
                        assert_eq!(next_valid_seq, next.header.first_seq);
                        assert_eq!(report.damage.len(), 1, "{:?}", report.damage);
                        assert_eq!(report.damage[0].offset, frame.offset);
                        assert_eq!(report.damage[0].len, frame.header.len());
                        assert_eq!(report.damage[0].seq, Some(frame.header.first_seq));
                        let kinds = [DamageKind::FrameHeader, DamageKind::Meta];
                        assert!(kinds.contains(&report.damage[0].kind));
                        assert!(!report.would_start());
                    }
                    Place::Sealed(seq) => {
                        let (journal, recovery) = opened.unwrap();
                        assert_eq!(recovery.truncated, None);
                        let damaged: Vec<_> =
                            recovery.damaged.iter().map(|d| d.location.seq).collect();
                        assert_eq!(damaged, [*seq]);
                        one_event_damaged(&journal, count, *seq);
                        assert_eq!(report.damage.len(), 1);
                        assert_eq!(report.damage[0].kind, DamageKind::Sealed);
                        assert_eq!(report.damage[0].seq, Some(*seq));
                        let location = journal.locate(*seq).unwrap();
                        assert_eq!(report.damage[0].offset, location.offset);
                        assert!(report.would_start());
                    }
                    Place::State(_) | Place::Padding => {
                        let (journal, recovery) = opened.unwrap();
                        assert_eq!((recovery.truncated, recovery.damaged.len()), (None, 0));
                        check(&journal, &all(count), &nothing());
                        assert_eq!(report.is_clean(), *place != Place::Padding);
                    }
                }
            });
        }
    }
}

#[test]
fn last_frame() {
    let (memory, count) = three_segments();
    let (journal, _) = open(&memory).unwrap();
    let frame = lay_out(&memory, &journal, 2).pop().unwrap();
    drop(journal);
    let (file, first) = (segment_file(2), frame.header.first_seq);
    assert_eq!(first, count - 2);
    let whole = memory.contents(&file).unwrap();
    for (at, place) in &frame.places {
        memory.flip(&file, *at, 0x40);
        let report = fsck_of(&memory);
        // Someone has seen the frame, or its first event: rot. (A watermark at its second event alone says the same.)
        for watermark in [first, first + 1] {
            let opened = open_with(&memory, &seen(watermark));
            if matches!(place, Place::State(_) | Place::Padding) {
                check(&opened.unwrap().0, &all(count), &nothing());
                continue;
            }
            let Err(Error::AckedDamaged {
                file: named,
                offset,
                seq,
                ..
            }) = opened
            else {
                panic!("{place:?} at {at}: {opened:?}");
            };
            assert_eq!((named, offset, seq), (file.clone(), frame.offset, first));
        }
        // Nobody has: a torn write.
        let (journal, recovery) = open_with(&memory, &seen(first - 1)).unwrap();
        if matches!(place, Place::State(_) | Place::Padding) {
            assert_eq!(recovery.truncated, None);
        } else {
            let truncated = recovery.truncated.unwrap();
            assert_eq!(
                (truncated.offset, truncated.first_seq),
                (frame.offset, first)
            );
            assert!(
                report.damage.iter().any(|d| d.kind == DamageKind::TornTail),
                "{report:?}"
            );
            assert!(report.would_start());
            check(&journal, &all(first), &nothing());
            let after = memory.contents(&file).unwrap();
            assert!(after[frame.offset as usize..].iter().all(|byte| *byte == 0));
            append(&journal, first..first + 2).unwrap();
            check(&journal, &all(count), &nothing());
        }
        drop(journal);
        memory.place(&file, whole.clone());
    }
}

#[test]
fn zeros_after_the_last_frame() {
    let (memory, count) = three_segments();
    let (journal, _) = open(&memory).unwrap();
    let frame = lay_out(&memory, &journal, 2).pop().unwrap();
    drop(journal);
    let end = frame.offset + frame.header.len();
    for at in [end, end + 1, end + 79, end + 81, end + 513, SEGMENT - 1] {
        assert!(memory.flip(&segment_file(2), at, 1));
        let (journal, recovery) = open_with(&memory, &seen(count - 1)).unwrap();
        let truncated = recovery.truncated.unwrap();
        assert_eq!((truncated.offset, truncated.len), (end, at + 1 - end));
        check(&journal, &all(count), &nothing());
        drop(journal);
        assert!(fsck_of(&memory).is_clean());
    }
}

#[test]
fn sealed_segment() {
    let (memory, count) = three_segments();
    let (journal, _) = open(&memory).unwrap();
    let frames = lay_out(&memory, &journal, 1);
    drop(journal);
    let file = segment_file(1);
    let from_start = Watermarks {
        scan_from_seq: Some(0),
        ..Watermarks::default()
    };
    for laid in [0, 2, frames.len() - 1].map(|at| &frames[at]) {
        let seq = laid.header.first_seq;
        for (at, place) in &laid.places {
            with_flip(&memory, &file, *at, || {
                let verified = open_with(&memory, &from_start);
                match place {
                    Place::Header | Place::Meta => {
                        let Err(Error::MidLogDamage {
                            file: named,
                            offset,
                            ..
                        }) = verified
                        else {
                            panic!("{place:?} at {at}: {verified:?}");
                        };
                        assert_eq!((named, offset), (file.clone(), laid.offset));
                        // A start that does not look there meets the damage when someone reads it, and only there.
                        let (journal, _) = open(&memory).unwrap();
                        for other in 0..count {
                            let leaf = journal.read_leaf(other);
                            if other == seq {
                                let Err(Error::Damaged {
                                    file: named,
                                    offset,
                                    ..
                                }) = leaf
                                else {
                                    panic!("{place:?} at {at}: {leaf:?}");
                                };
                                assert_eq!((named, offset), (file.clone(), laid.offset));
                            } else {
                                leaf.unwrap();
                            }
                        }
                        let scanned: Vec<_> = journal.scan(0).collect();
                        assert!(matches!(scanned.last(), Some(Err(Error::Damaged { .. }))));
                        assert_eq!(
                            scanned.len() as u64,
                            seq + 1,
                            "it stops there, nothing skipped"
                        );
                    }
                    Place::Sealed(seq) => {
                        let (journal, recovery) = verified.unwrap();
                        assert!(
                            recovery.damaged.is_empty(),
                            "only the last segment is read whole"
                        );
                        one_event_damaged(&journal, count, *seq);
                    }
                    Place::State(_) | Place::Padding => {
                        check(&verified.unwrap().0, &all(count), &nothing());
                    }
                }
            });
        }
    }
}

#[test]
fn segment_headers() {
    let (memory, _) = three_segments();
    for id in 0..3 {
        let file = segment_file(id);
        for at in (0..128).chain([129, 2000, 4091]).chain(4092..4096) {
            with_flip(&memory, &file, at, || {
                let refused = open(&memory).unwrap_err();
                let Error::Damaged {
                    file: named,
                    offset: 0,
                    kind,
                    ..
                } = &refused
                else {
                    panic!("{at}: {refused:?}");
                };
                assert_eq!((named, *kind), (&file, DamageKind::SegmentHeader));
                let report = fsck_of(&memory);
                assert_eq!(report.damage[0].kind, DamageKind::SegmentHeader);
                assert_eq!(report.damage[0].file, file);
            });
        }
    }
}

#[test]
fn truncated_missing_swapped_and_foreign_segments() {
    let (memory, count) = three_segments();
    for id in 0..3 {
        let file = segment_file(id);
        let whole = memory.contents(&file).unwrap();
        for len in [0, 1, 4095, 4096, 5000, SEGMENT - 1024, SEGMENT - 1] {
            memory.truncate(&file, len);
            let refused = open(&memory).unwrap_err();
            assert!(
                matches!(&refused, Error::Damaged { file: f, kind: DamageKind::Length, .. } if *f == file),
                "{refused:?}"
            );
            let report = fsck_of(&memory);
            assert!(
                report
                    .damage
                    .iter()
                    .any(|d| d.kind == DamageKind::Length && d.file == file)
            );
            memory.place(&file, whole.clone());
        }
        memory.place(&file, [whole.as_slice(), &[0; 4096]].concat());
        assert!(matches!(
            open(&memory),
            Err(Error::Damaged {
                kind: DamageKind::Length,
                ..
            })
        ));
        memory.place(&file, whole);
    }
    let middle = memory.contents(&segment_file(1)).unwrap();
    memory.displace(&segment_file(1));
    let refused = open(&memory).unwrap_err();
    assert!(
        matches!(&refused, Error::Damaged { file, kind: DamageKind::MissingSegment, .. } if *file == segment_file(1))
    );
    assert!(
        fsck_of(&memory)
            .damage
            .iter()
            .any(|d| d.kind == DamageKind::MissingSegment)
    );
    // A copy of another segment under this name.
    memory.place(&segment_file(1), memory.contents(&segment_file(2)).unwrap());
    assert!(matches!(
        open(&memory),
        Err(Error::Damaged {
            kind: DamageKind::SegmentHeader,
            ..
        })
    ));
    // The same segment of another journal.
    let other = Memory::new(9);
    Journal::create(
        &super::support::io(&other),
        &super::support::options(),
        [8; 16],
    )
    .unwrap();
    let (journal, _) = open(&other).unwrap();
    let mut tag = 0;
    while journal.status().segments < 2 {
        fill(&journal, tag..tag + 1);
        tag += 1;
    }
    drop(journal);
    memory.place(&segment_file(1), other.contents(&segment_file(1)).unwrap());
    assert!(matches!(
        open(&memory),
        Err(Error::Damaged {
            kind: DamageKind::Chain,
            ..
        })
    ));
    memory.place(&segment_file(1), middle);
    check(&open(&memory).unwrap().0, &all(count), &nothing());
    // The newest segment gone altogether: sound, but shorter than someone knows.
    memory.displace(&segment_file(2));
    assert!(matches!(
        open_with(&memory, &seen(count - 1)),
        Err(Error::LostAcked { .. })
    ));
}

#[test]
fn later_formats_are_named() {
    let (memory, _) = three_segments();
    let mut bytes = memory.contents(&segment_file(2)).unwrap();
    for (at, version, algorithm) in [(8, 2, 1), (10, 1, 2)] {
        let mut later = bytes.clone();
        later[at] = 2;
        let crc = crc32c::crc32c(&later[..4092]).to_le_bytes();
        later[4092..4096].copy_from_slice(&crc);
        memory.place(&segment_file(2), later);
        let refused = open(&memory).unwrap_err();
        assert!(
            matches!(refused, Error::Unsupported { version: v, algorithm: a, .. } if (v, a) == (version, algorithm))
        );
    }
    // A header that would decide on a huge allocation.
    let header = SegmentHeader::decode(&bytes[..4096], "x").unwrap();
    let huge = SegmentHeader {
        segment_size: 1 << 60,
        ..header
    };
    bytes[..4096].copy_from_slice(&huge.encode());
    memory.place(&segment_file(2), bytes);
    assert!(matches!(open(&memory), Err(Error::Damaged { .. })));
}

#[test]
fn a_stale_recycled_file_cannot_speak() {
    // An old segment put back as a spare: its frames are sound in themselves.
    let (memory, count) = three_segments();
    let stale = memory.contents(&segment_file(1)).unwrap();
    let (journal, _) = open(&memory).unwrap();
    drop(journal);
    for name in crate::Io::list(&memory).unwrap() {
        if name.starts_with("spare-") {
            memory.displace(&name);
        }
    }
    memory.place("spare-90.seg", stale.clone());
    let (journal, _) = open(&memory).unwrap();
    fill(&journal, count..count + 40);
    check(&journal, &all(count + 40), &nothing());
    drop(journal);
    check(&open(&memory).unwrap().0, &all(count + 40), &nothing());

    // The same, but the stale bytes have made it behind the end of the last segment.
    let (memory, count) = three_segments();
    let (journal, _) = open(&memory).unwrap();
    let frame = lay_out(&memory, &journal, 2).pop().unwrap();
    drop(journal);
    let end = (frame.offset + frame.header.len()) as usize;
    let mut bytes = memory.contents(&segment_file(2)).unwrap();
    bytes[end..].copy_from_slice(&stale[4096..][..SEGMENT as usize - end]);
    memory.place(&segment_file(2), bytes);
    let (journal, recovery) = open(&memory).unwrap();
    assert_eq!(recovery.truncated.unwrap().offset, end as u64);
    check(&journal, &all(count), &nothing());
}

#[test]
fn a_sound_frame_that_does_not_follow_is_never_cut_away() {
    // The last frame but one is replaced by zeros: what is after it was acknowledged.
    let (memory, _) = three_segments();
    let (journal, _) = open(&memory).unwrap();
    let frames = lay_out(&memory, &journal, 2);
    drop(journal);
    let [.., hole, last] = frames.as_slice() else {
        panic!()
    };
    let mut bytes = memory.contents(&segment_file(2)).unwrap();
    bytes[hole.offset as usize..last.offset as usize].fill(0);
    memory.place(&segment_file(2), bytes.clone());
    assert!(
        matches!(open(&memory), Err(Error::MidLogDamage { offset, .. }) if offset == hole.offset)
    );
    // The last frame moved forward over the hole: sound, right place, wrong number.
    let moved = bytes[last.offset as usize..][..last.header.len() as usize].to_vec();
    bytes[last.offset as usize..][..last.header.len() as usize].fill(0);
    bytes[hole.offset as usize..][..moved.len()].copy_from_slice(&moved);
    memory.place(&segment_file(2), bytes);
    let refused = open(&memory).unwrap_err();
    assert!(
        matches!(
            refused,
            Error::MidLogDamage {
                kind: DamageKind::Chain,
                ..
            }
        ),
        "{refused:?}"
    );
}

fn one_event_damaged(journal: &Journal, count: u64, damaged: u64) {
    for entry in journal.scan(0).map(Result::unwrap) {
        let sealed = journal.read(&entry.location);
        let whole = &events(entry.seq..entry.seq + 1)[0];
        assert_eq!(entry.leaf, whole.leaf);
        if entry.seq == damaged {
            assert!(
                matches!(&sealed, Err(Error::Damaged { seq: Some(s), kind: DamageKind::Sealed, .. }) if *s == damaged),
                "{sealed:?}"
            );
            assert_ne!(entry.row, Part::Erased);
        } else {
            assert_eq!(sealed.unwrap().body, whole.body);
            assert_eq!(entry.row, Part::Present(whole.row.clone()));
        }
    }
    assert_eq!(journal.scan(0).count() as u64, count);
}
