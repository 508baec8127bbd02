//! Opening: the marker, the watchdog, the lock, and what is and is not taken for damage.

use std::fs;
use std::os::unix::fs::FileExt;

use super::conformance::assert_all_refused;
use super::{after, apply, assert_consistent, batch, open_or_build, options};
use crate::{Error, Fault, Index, OpenOptions, Opened, Order, Reason, Table, open_supervised};

fn reason(dir: &std::path::Path, options: OpenOptions) -> Option<Reason> {
    match open_supervised(dir, options).unwrap() {
        Opened::Ready(_) => None,
        Opened::Rebuild { reason, .. } => Some(reason),
    }
}

#[test]
fn a_marker_left_behind_means_rebuild() {
    for marker in [&b"1\n"[..], b"", b"1", b"noise\n"] {
        let dir = tempfile::tempdir().unwrap();
        drop(open_or_build(dir.path(), 30));
        fs::write(dir.path().join("index.opening"), marker).unwrap();
        let (index, why) = open_or_build(dir.path(), 30);
        assert_eq!(why, Some(Reason::LastOpenDied));
        assert!(!dir.path().join("index.opening").exists());
        assert!(
            !dir.path().join("index.1").exists(),
            "the suspect folder is gone"
        );
        assert_eq!(assert_consistent(&index), 30);
        drop(index);
        assert_eq!(reason(dir.path(), options()), None);
    }
}

#[test]
fn an_open_that_hangs_ends_at_the_watchdog_and_is_not_trusted_again() {
    let dir = tempfile::tempdir().unwrap();
    drop(open_or_build(dir.path(), 30));
    // With no time at all the watchdog fires while sled is at work, and it goes on working behind our back.
    let hasty = OpenOptions {
        watchdog_ms: 0,
        ..options()
    };
    assert_eq!(
        reason(dir.path(), hasty),
        Some(Reason::Engine(Fault::Stalled))
    );
    assert_eq!(fs::read(dir.path().join("index.opening")).unwrap(), b"1\n");
    let (index, why) = open_or_build(dir.path(), 30);
    assert_eq!(why, Some(Reason::LastOpenDied));
    assert_eq!(assert_consistent(&index), 30);
    drop(index);
    // A marker of a generation that no longer counts is a leftover.
    fs::write(dir.path().join("index.opening"), b"1\n").unwrap();
    let (index, why) = open_or_build(dir.path(), 30);
    assert_eq!(why, None);
    assert_eq!(assert_consistent(&index), 30);
    assert!(!dir.path().join("index.opening").exists());
}

#[test]
fn a_rebuild_that_was_not_finished_is_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        assert_eq!(reason(dir.path(), options()), Some(Reason::Absent));
    }
    drop(open_or_build(dir.path(), 10));
    fs::remove_dir_all(dir.path().join("index.1")).unwrap();
    for _ in 0..2 {
        assert_eq!(
            reason(dir.path(), options()),
            Some(Reason::GenerationMissing)
        );
    }
}

#[test]
fn a_damaged_pointer_means_rebuild() {
    for bad in [
        &b""[..],
        b"two\n",
        b"2",
        b"99999999999999999999999\n",
        &[b'1'; 4096],
    ] {
        let dir = tempfile::tempdir().unwrap();
        drop(open_or_build(dir.path(), 10));
        fs::write(dir.path().join("index.current"), bad).unwrap();
        let (index, why) = open_or_build(dir.path(), 10);
        assert_eq!(why, Some(Reason::PointerDamaged));
        assert_eq!(assert_consistent(&index), 10);
    }
}

#[test]
fn another_schema_means_rebuild() {
    let dir = tempfile::tempdir().unwrap();
    drop(open_or_build(dir.path(), 10));
    let newer = OpenOptions {
        schema: 2,
        ..options()
    };
    assert_eq!(reason(dir.path(), newer), Some(Reason::SchemaChanged));
}

#[test]
fn an_index_in_use_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open_or_build(dir.path(), 10);
    assert!(matches!(
        open_supervised(dir.path(), options()),
        Err(Error::InUse)
    ));
    assert!(matches!(
        crate::Builder::create(dir.path(), options()),
        Err(Error::InUse)
    ));
    apply(&index, 10..20);
    assert_eq!(assert_consistent(&index), 20);
}

#[test]
fn a_lock_on_sleds_own_file_is_not_damage() {
    let dir = tempfile::tempdir().unwrap();
    drop(open_or_build(dir.path(), 10));
    let file = fs::File::open(dir.path().join("index.1/db")).unwrap();
    file.lock().unwrap();
    assert!(matches!(
        open_supervised(dir.path(), options()),
        Err(Error::InUse)
    ));
    file.unlock().unwrap();
    assert_eq!(assert_consistent(&open_or_build(dir.path(), 0).0), 10);
}

#[test]
fn above_the_limit_of_the_full_check_a_sample_is_read() {
    let dir = tempfile::tempdir().unwrap();
    drop(open_or_build(dir.path(), 60));
    let sampling = OpenOptions {
        full_check_rows: 0,
        sample_keys: 500,
        ..options()
    };
    let Opened::Ready(index) = open_supervised(dir.path(), sampling).unwrap() else {
        panic!("a healthy index opens");
    };
    assert_eq!(assert_consistent(&index), 60);
}

#[test]
fn a_row_that_vanished_under_a_newer_checkpoint_is_found() {
    for victim in ["row", "tally", "checkpoint", "recent", "stray"] {
        let dir = tempfile::tempdir().unwrap();
        let (index, _) = open_or_build(dir.path(), 30);
        apply(&index, 30..40);
        let mut rows = super::all_rows(&index, &super::TABLES).unwrap();
        let ((table, key), _) = rows.pop_first().unwrap();
        drop(index);
        let db = sled::Config::new()
            .path(dir.path().join("index.1"))
            .open()
            .unwrap();
        let row = crate::meta::stored_key(Table(table), &key);
        match victim {
            "row" => db.remove(row).unwrap(),
            "tally" => db.insert([0, 1, table], vec![0; 24]).unwrap(),
            "checkpoint" => db.remove([0]).unwrap(),
            "recent" => {
                let last = db.get([0]).unwrap().unwrap();
                let last = crate::meta::CheckpointRow::decode(&last).unwrap();
                db.remove(&last.recents[0].0).unwrap()
            }
            _ => db.insert([1], b"no table").unwrap(),
        };
        db.flush().unwrap();
        drop(db);
        let expected = if victim == "checkpoint" {
            Reason::CheckpointLost
        } else {
            Reason::Inconsistent
        };
        // The newest rows are looked at even when only a sample is read.
        let how = match victim {
            "recent" => OpenOptions {
                full_check_rows: 0,
                ..options()
            },
            _ => options(),
        };
        assert_eq!(reason(dir.path(), how), Some(expected), "{victim}");
    }
}

#[test]
fn damage_under_a_running_index_makes_it_unhealthy_and_it_stays_so() {
    let dir = tempfile::tempdir().unwrap();
    let small_cache = OpenOptions {
        cache_bytes: 1 << 20,
        ..options()
    };
    let Opened::Rebuild { mut builder, .. } = open_supervised(dir.path(), small_cache).unwrap()
    else {
        panic!("an empty folder holds no index");
    };
    let row = |i: u32| (crate::meta::mix(u64::from(i)).to_be_bytes(), vec![3; 200]);
    for i in 0..40_000 {
        let (key, value) = row(i);
        builder.push(&crate::Op::put(Table(1), key, value)).unwrap();
    }
    let index = builder.finish(&after(0)).unwrap();
    let db = fs::File::options()
        .write(true)
        .open(dir.path().join("index.1/db"))
        .unwrap();
    let len = db.metadata().unwrap().len();
    db.write_all_at(&vec![0; usize::try_from(len).unwrap()], 0)
        .unwrap();
    let failed = (0..40_000).find_map(|i| match index.get(Table(1), &row(i).0) {
        Ok(found) => {
            assert!(found.is_some(), "damage must never read as not found");
            None
        }
        Err(error) => Some(error),
    });
    assert!(
        matches!(failed, Some(Error::Unhealthy { .. })),
        "{failed:?}"
    );
    assert_all_refused(&index);
    assert!(matches!(index.verify(), Err(Error::Unhealthy { .. })));
    drop(index);
    assert!(reason(dir.path(), small_cache).is_some());
}

#[test]
fn rows_of_the_greatest_size_stay_out_of_blob_files() {
    // sled never syncs blob files, so no page may grow into one.
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open_or_build(dir.path(), 0);
    for n in 0..40u64 {
        let ops: Vec<crate::Op> = (0..100u64)
            .map(|i| {
                let mut key = vec![7; crate::MAX_KEY_BYTES - 8];
                key.extend_from_slice(&crate::meta::mix(n * 50 + i).to_be_bytes());
                crate::Op::put(Table(1), key, vec![n as u8; crate::MAX_VALUE_BYTES])
            })
            .collect();
        index.apply(&ops, &after(n)).unwrap();
    }
    index.flush().unwrap();
    assert_eq!(
        fs::read_dir(dir.path().join("index.1/blobs"))
            .unwrap()
            .count(),
        0
    );
    assert_eq!(
        index
            .range(Table(1), b"", None, Order::Forward, 9_999)
            .unwrap()
            .len(),
        2_050
    );
    assert!(index.size_on_disk().unwrap() > 2_050 * crate::MAX_VALUE_BYTES as u64);
}

#[test]
fn what_was_flushed_survives_a_copy_of_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open_or_build(dir.path(), 0);
    apply(&index, 0..100);
    index.flush().unwrap();
    let copy = tempfile::tempdir().unwrap();
    super::copy_dir(dir.path(), copy.path());
    drop(index);
    let (again, why) = open_or_build(copy.path(), 0);
    assert_eq!(why, None);
    assert_eq!(assert_consistent(&again), 100);
    assert!(!batch(100).is_empty());
}
