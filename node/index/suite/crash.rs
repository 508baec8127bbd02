//! Killed at any moment: rows and checkpoint agree, and what was flushed is there.
//!
//! The killed process is this test binary, started again with a folder in its environment. Rounds:
//! `SONGHE_KILL_ROUNDS` (10).

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::{START, after, assert_consistent, batch, options};
use crate::meta::mix;
use crate::{Index, Opened, Reason, SledIndex, open_supervised};

const FOLDER: &str = "SONGHE_INDEX_CRASH_FOLDER";
const ROUNDS: &str = "SONGHE_KILL_ROUNDS";

fn say(word: &str, n: u64) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n@{word} {n}").unwrap();
    out.flush().unwrap();
}

/// The life of a node, as far as an index sees it, until it is killed.
fn live(folder: &std::path::Path) -> ! {
    let mut index = match open_supervised(folder, options()).unwrap() {
        Opened::Ready(index) => index,
        // The journal that would feed the rebuild is the fixed one; the parent said how far it goes at least.
        Opened::Rebuild { builder, .. } => builder.finish(&START).unwrap(),
    };
    let mut n = index.checkpoint().unwrap().unwrap().next_seq;
    say("open", n);
    loop {
        index.apply(&batch(n), &after(n)).unwrap();
        n += 1;
        say("ack", n);
        if mix(n ^ 0xf1).is_multiple_of(20) {
            index.flush().unwrap();
            say("flushed", n);
        }
        if mix(n ^ 0xf2).is_multiple_of(60) {
            index = rebuilt(&index, n);
            say("flushed", n); // A rebuild is durable when it is done.
        }
    }
}

fn rebuilt(index: &SledIndex, n: u64) -> SledIndex {
    let mut builder = index.rebuild().unwrap();
    (0..n)
        .flat_map(batch)
        .for_each(|op| builder.push(&op).unwrap());
    builder.finish(&after(n - 1)).unwrap()
}

/// Does nothing unless it is the process to be killed.
#[test]
fn the_killed_process() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        live(&PathBuf::from(folder));
    }
}

#[test]
fn a_kill_at_any_moment_leaves_rows_and_checkpoint_in_agreement() {
    let rounds = std::env::var_os(ROUNDS)
        .and_then(|v| v.to_str().and_then(|v| v.parse().ok()))
        .unwrap_or(10u64);
    let dir = tempfile::tempdir().unwrap();
    let (mut acked_total, mut reached, mut rebuilds, mut behind) = (0, 0, 0, 0u64);
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "suite::crash::the_killed_process", "--nocapture"])
            .env(FOLDER, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let out = child.stdout.take().unwrap();
        let (lines, read) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if let Some(word) = line.strip_prefix('@')
                    && let Some((word, n)) = word.split_once(' ')
                    && let Ok(n) = n.parse::<u64>()
                {
                    lines.send((word.to_owned(), n)).ok();
                }
            }
        });
        // One round in four is killed before it can have opened; the others some time after.
        let mut said = Vec::new();
        if !mix(round ^ 0xc0).is_multiple_of(4) {
            said.push(
                read.recv_timeout(Duration::from_secs(120))
                    .expect("the process opens"),
            );
        }
        std::thread::sleep(Duration::from_micros(mix(round ^ 0xc1) % 600_000));
        child.kill().unwrap();
        child.wait().unwrap();
        reader.join().unwrap();
        said.extend(read.try_iter());
        let last = |word: &str| {
            said.iter()
                .filter(|(w, _)| w == word)
                .map(|(_, n)| *n)
                .max()
        };
        let (acked, flushed) = (last("ack"), last("flushed"));
        acked_total += said.iter().filter(|(w, _)| w == "ack").count();

        match open_supervised(dir.path(), options()).unwrap() {
            Opened::Ready(index) => {
                let n = assert_consistent(&index);
                index.verify().unwrap();
                assert!(
                    n >= flushed.unwrap_or(0),
                    "round {round}: flushed {flushed:?}, found {n}"
                );
                if let Some(acked) = acked {
                    // One more may be applied than was said.
                    assert!(n <= acked + 1, "round {round}: acked {acked}, found {n}");
                    behind = behind.max(acked.saturating_sub(n));
                }
                reached = reached.max(n);
            }
            Opened::Rebuild { reason, builder } => {
                // Killed while opening, or before the first index was made: nothing else may cost a rebuild.
                assert!(
                    matches!(
                        reason,
                        Reason::LastOpenDied | Reason::GenerationMissing | Reason::Absent
                    ),
                    "round {round}: {reason}"
                );
                assert!(
                    said.is_empty(),
                    "round {round}: {reason} after the index was open"
                );
                rebuilds += 1;
                drop(builder);
            }
        }
    }
    println!(
        "{rounds} kills: {acked_total} batches acked, up to {reached}, {rebuilds} rebuilds, at most {behind} behind"
    );
    assert!(acked_total > 0);
}
