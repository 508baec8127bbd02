//! Damaged files: an older consistent index, or a rebuild; never a wrong row, an escaped panic, or a hang.
//!
//! Cases: `SONGHE_DAMAGE_CASES` (96).

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{after, apply, assert_consistent, batch, copy_dir, open_or_build, options};
use crate::meta::mix;
use crate::{Error, Index, OpenOptions, Opened, open_supervised};

const BATCHES: u64 = 400;
const CASES: &str = "SONGHE_DAMAGE_CASES";
const WATCHDOG: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
enum Harm {
    FlipBit,
    FlipByteNearEnd,
    Truncate,
    TruncateTail,
    ZeroPage,
    ZeroSegment,
    Noise,
    Delete,
}

const HARMS: [Harm; 8] = [
    Harm::FlipBit,
    Harm::FlipByteNearEnd,
    Harm::Truncate,
    Harm::TruncateTail,
    Harm::ZeroPage,
    Harm::ZeroSegment,
    Harm::Noise,
    Harm::Delete,
];

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.ends_with("index.lock") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn harm(dir: &Path, kind: Harm, seed: u64) -> String {
    let files = files(dir);
    // Mostly the data file, which is most of the bytes; else any file.
    let data = files.iter().find(|f| f.ends_with("db")).unwrap();
    let any = &files[usize::try_from(mix(seed) % files.len() as u64).unwrap()];
    let path = if mix(seed ^ 1).is_multiple_of(3) {
        any
    } else {
        data
    };
    let len = fs::metadata(path).unwrap().len();
    let at = mix(seed ^ 2) % len.max(1);
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let fill = |at: u64, bytes: u64, noise: bool| {
        let n = bytes.min(len.saturating_sub(at));
        let byte = |i: u64| {
            if noise {
                mix(seed ^ (i << 20)).to_be_bytes()[0]
            } else {
                0
            }
        };
        file.write_all_at(&(0..n).map(byte).collect::<Vec<u8>>(), at)
            .unwrap();
    };
    let flip = |at: u64, mask: u8| {
        let mut byte = [0u8];
        if file.read_at(&mut byte, at).unwrap() == 1 {
            file.write_all_at(&[byte[0] ^ mask], at).unwrap();
        }
    };
    match kind {
        Harm::FlipBit => flip(at, 1 << (seed % 8)),
        Harm::FlipByteNearEnd => flip(len.saturating_sub(1 + mix(seed ^ 3) % 65_536), 0xff),
        Harm::Truncate => file.set_len(at).unwrap(),
        Harm::TruncateTail => file
            .set_len(len - len.min(1 + mix(seed ^ 3) % 65_536))
            .unwrap(),
        Harm::ZeroPage => fill(at / 4096 * 4096, 4096, false),
        Harm::ZeroSegment => fill(at / (512 << 10) * (512 << 10), 512 << 10, false),
        Harm::Noise => fill(at, 1 + mix(seed ^ 4) % 5_000, true),
        Harm::Delete => fs::remove_file(path).unwrap(),
    }
    let name = path.strip_prefix(dir).unwrap().display().to_string();
    format!("{kind:?} of {name} at {at} of {len}")
}

/// Opens a damaged copy; says what came of it.
fn outcome(dir: &Path, case: &str) -> String {
    let options = OpenOptions {
        watchdog_ms: u64::try_from(WATCHDOG.as_millis()).unwrap(),
        ..options()
    };
    let begun = Instant::now();
    let opened = open_supervised(dir, options).unwrap();
    assert!(begun.elapsed() < WATCHDOG * 2, "{case}: hung");
    match opened {
        Opened::Ready(index) => {
            let n = assert_consistent(&index);
            assert!(n <= BATCHES, "{case}");
            // It goes on from there, or says it cannot; what it accepts it keeps.
            for i in n..n + 5 {
                match index.apply(&batch(i), &after(i)) {
                    Ok(()) => {}
                    Err(Error::Unhealthy { .. }) => return "unhealthy later".into(),
                    Err(other) => panic!("{case}: {other}"),
                }
            }
            assert_eq!(assert_consistent(&index), n + 5, "{case}");
            if n == BATCHES {
                "intact".into()
            } else {
                "earlier".into()
            }
        }
        Opened::Rebuild {
            mut builder,
            reason,
        } => {
            // The same process must be able to rebuild at once.
            (0..30)
                .flat_map(batch)
                .for_each(|op| builder.push(&op).unwrap());
            let index = builder.finish(&after(29)).unwrap();
            assert_eq!(assert_consistent(&index), 30, "{case}");
            format!("rebuild, {reason}")
        }
    }
}

#[test]
fn any_damage_ends_in_an_older_index_or_a_rebuild() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open_or_build(dir.path(), 0);
    apply(&index, 0..BATCHES / 2);
    index.flush().unwrap();
    drop(index);
    // The reopen writes a snapshot file, so that both kinds of files are there.
    let (index, why) = open_or_build(dir.path(), 0);
    assert_eq!(why, None);
    apply(&index, BATCHES / 2..BATCHES);
    let live = tempfile::tempdir().unwrap();
    copy_dir(dir.path(), live.path()); // As a kill leaves it.
    drop(index);

    let cases = std::env::var_os(CASES)
        .and_then(|v| v.to_str().and_then(|v| v.parse().ok()))
        .unwrap_or(96u64);
    let mut tally = std::collections::BTreeMap::new();
    for case in 0..cases {
        let from = if case % 2 == 0 {
            dir.path()
        } else {
            live.path()
        };
        let copy = tempfile::tempdir().unwrap();
        copy_dir(from, copy.path());
        let kind = HARMS[usize::try_from(case / 2).unwrap() % HARMS.len()];
        let what = harm(copy.path(), kind, mix(case + 1));
        *tally.entry(outcome(copy.path(), &what)).or_insert(0u32) += 1;
    }
    println!("damage outcomes: {tally:?}");
    assert_eq!(tally.values().sum::<u32>(), u32::try_from(cases).unwrap());
    let rebuilds: u32 = tally
        .iter()
        .filter(|(k, _)| k.starts_with("rebuild"))
        .map(|(_, n)| *n)
        .sum();
    assert!(
        rebuilds > 0 && tally.contains_key("earlier"),
        "damage too mild to tell anything"
    );
}

#[test]
fn an_undamaged_copy_is_intact() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open_or_build(dir.path(), 0);
    apply(&index, 0..BATCHES);
    drop(index);
    assert_eq!(outcome(dir.path(), "no damage"), "intact");
}
