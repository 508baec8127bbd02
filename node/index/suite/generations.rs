//! Rebuilds: whatever moment a swap stops at, one whole generation is current.

use std::fs;
use std::io;

use super::{after, apply, assert_consistent, batch, open_or_build, options};
use crate::home::SwapStep;
use crate::{Error, Fault, Index, Opened, Reason, Table, open_supervised};

const STEPS: [SwapStep; 5] = [
    SwapStep::Start,
    SwapStep::PointerWritten,
    SwapStep::PointerSynced,
    SwapStep::Renamed,
    SwapStep::DirSynced,
];

#[test]
fn a_swap_that_stops_anywhere_leaves_the_old_or_the_new_generation() {
    for (i, stop_at) in STEPS.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let (old, _) = open_or_build(dir.path(), 20);
        old.flush().unwrap();
        let mut builder = old.rebuild().unwrap();
        (0..50)
            .flat_map(batch)
            .for_each(|op| builder.push(&op).unwrap());
        let mut seen = 0;
        let stopped = builder.untidy().finish_with(&after(49), &mut |step| {
            seen += 1;
            if step == stop_at {
                Err(io::Error::other("crash"))
            } else {
                Ok(())
            }
        });
        assert!(matches!(stopped, Err(Error::Disk(_))));
        assert_eq!(seen, i + 1, "steps come in order");
        // The running node still reads the old one.
        assert_eq!(assert_consistent(&old), 20);
        drop(old);

        let Opened::Ready(index) = open_supervised(dir.path(), options()).unwrap() else {
            panic!("no current generation after {stop_at:?}");
        };
        let renamed = matches!(stop_at, SwapStep::Renamed | SwapStep::DirSynced);
        assert_eq!(
            assert_consistent(&index),
            if renamed { 50 } else { 20 },
            "{stop_at:?}"
        );
        assert_eq!(index.generation(), if renamed { 2 } else { 1 });
        let mut left: Vec<String> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let folder = format!("index.{}", index.generation());
        assert_eq!(
            left,
            [folder.as_str(), "index.current", "index.lock"],
            "leftovers are swept"
        );
    }
}

#[test]
fn a_rename_that_was_not_written_down_leaves_the_old_one() {
    // The rename's directory entry may be lost by a power cut until the folder is synced: the old pointer is back.
    let dir = tempfile::tempdir().unwrap();
    let (old, _) = open_or_build(dir.path(), 20);
    old.flush().unwrap();
    let pointer = fs::read(dir.path().join("index.current")).unwrap();
    let mut builder = old.rebuild().unwrap();
    (0..30)
        .flat_map(batch)
        .for_each(|op| builder.push(&op).unwrap());
    builder
        .untidy()
        .finish_with(&after(29), &mut |step| match step {
            SwapStep::Renamed => Err(io::Error::other("power cut")),
            _ => Ok(()),
        })
        .unwrap_err();
    drop(old);
    fs::write(dir.path().join("index.current"), pointer).unwrap();
    let Opened::Ready(index) = open_supervised(dir.path(), options()).unwrap() else {
        panic!("the old generation must still be there");
    };
    assert_eq!(assert_consistent(&index), 20);
}

#[test]
fn a_rebuild_beside_a_running_index_replaces_it() {
    let dir = tempfile::tempdir().unwrap();
    let (old, reason) = open_or_build(dir.path(), 0);
    assert_eq!(reason, Some(Reason::Absent));
    apply(&old, 0..60);
    let mut builder = old.rebuild().unwrap();
    (0..60)
        .flat_map(batch)
        .for_each(|op| builder.push(&op).unwrap());
    let new = builder.finish(&after(59)).unwrap();
    assert_eq!(
        assert_consistent(&old),
        60,
        "readers of the old one are not disturbed"
    );
    assert_eq!(assert_consistent(&new), 60);
    drop(old);
    apply(&new, 60..80);
    drop(new);
    let (again, reason) = open_or_build(dir.path(), 0);
    assert_eq!((reason, again.generation()), (None, 2));
    assert_eq!(assert_consistent(&again), 80);
}

#[test]
fn a_builder_that_is_given_up_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open_or_build(dir.path(), 5);
    let mut builder = index.rebuild().unwrap();
    let folder = dir.path().join(format!("index.{}", builder.generation()));
    (0..5)
        .flat_map(batch)
        .for_each(|op| builder.push(&op).unwrap());
    assert!(folder.exists() && builder.pushed() > 5);
    drop(builder);
    assert!(!folder.exists());
    assert_eq!(assert_consistent(&index), 5);
}

#[test]
fn of_two_rebuilds_the_newer_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open_or_build(dir.path(), 5);
    let mut first = index.rebuild().unwrap();
    let mut second = index.rebuild().unwrap();
    for op in (0..5).flat_map(batch) {
        first.push(&op).unwrap();
        second.push(&op).unwrap();
    }
    let second = second.finish(&after(4)).unwrap();
    assert!(matches!(
        first.finish(&after(4)),
        Err(Error::Superseded | Error::Disk(_) | Error::Unhealthy { .. })
    ));
    assert_eq!(assert_consistent(&second), 5);
    drop((index, second));
    assert_eq!(assert_consistent(&open_or_build(dir.path(), 0).0), 5);
}

#[test]
fn an_unhealthy_index_is_rebuilt_beside_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open_or_build(dir.path(), 40);
    index.break_tally(Table(9));
    let found = index.verify().unwrap_err();
    assert!(matches!(
        found,
        Error::Unhealthy {
            fault: Fault::Inconsistent
        }
    ));
    super::conformance::assert_all_refused(&index);
    let mut builder = index.rebuild().unwrap();
    (0..40)
        .flat_map(batch)
        .for_each(|op| builder.push(&op).unwrap());
    let healed = builder.finish(&after(39)).unwrap();
    healed.verify().unwrap();
    assert_eq!(assert_consistent(&healed), 40);
}
