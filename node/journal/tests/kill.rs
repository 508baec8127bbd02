//! Real files, a real process, `kill -9` at a random moment: nothing whose acknowledgement was heard is missing.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::support::event;
use crate::sim::Chance;
use crate::{Files, Io, Journal, Options, Part, Priority, Watermarks, fsck};

const FOLDER: &str = "SONGHE_KILL_FOLDER";
const ROUNDS: &str = "SONGHE_KILL_ROUNDS";
const THIS_TEST: &str = "tests::kill::nothing_acknowledged_is_lost_by_kill_9";

fn options() -> Options {
    Options {
        segment_size: 256 * 1024,
        audit_reserve: 16 * 1024,
        ..Options::default()
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return child(folder.into());
    }
    let rounds = std::env::var_os(ROUNDS)
        .and_then(|rounds| rounds.into_string().ok()?.parse().ok())
        .unwrap_or(15_u32);
    let folder = tempfile::tempdir().unwrap();
    let files: Arc<dyn Io> = Arc::new(Files::create(folder.path().join("journal")).unwrap());
    Journal::create(&files, &options(), [1; 16]).unwrap();
    let seed = SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(1, |now| now.as_nanos() as u64);
    let mut chance = Chance(seed);
    let (mut total, mut cuts, mut last) = (0_u64, 0, 0);
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([THIS_TEST, "--exact", "--nocapture", "--test-threads=1"])
            .env(FOLDER, folder.path().join("journal"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut heard = BufReader::new(child.stdout.take().unwrap());
        // The clock starts when the journal is open.
        let mut line = String::new();
        while heard.read_line(&mut line).unwrap() > 0 && !line.contains("ready") {
            line.clear();
        }
        std::thread::sleep(Duration::from_millis(chance.below(181)));
        child.kill().unwrap();
        child.wait().unwrap();
        let mut rest = String::new();
        heard.read_to_string(&mut rest).unwrap();
        // Only whole lines were said.
        let said = rest.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let acked = said
            .lines()
            .filter_map(|line| line.parse::<u64>().ok())
            .max();
        let (journal, found) = Journal::open(Arc::clone(&files), options(), &Watermarks::default())
            .unwrap_or_else(|error| panic!("seed {seed} round {round}: {error}"));
        let needed = acked.map_or(last, |acked| acked + 1);
        assert!(
            found.next_seq >= needed,
            "seed {seed} round {round}: {} of {needed} acknowledged events are there",
            found.next_seq
        );
        cuts += u32::from(found.truncated.is_some());
        for entry in journal.scan(last).map(Result::unwrap) {
            let wanted = event(entry.seq);
            assert_eq!(entry.leaf, wanted.leaf);
            assert_eq!(entry.row, Part::Present(wanted.row));
            assert_eq!(journal.read(&entry.location).unwrap().body, wanted.body);
        }
        total += found.next_seq - last;
        last = found.next_seq;
        journal.close().unwrap();
    }
    let report = fsck(&*files, &mut |_, _| {}).unwrap();
    assert!(report.is_clean(), "{:?}", report.damage);
    assert_eq!(report.events, last);
    eprintln!("{rounds} kills, {total} events, {cuts} torn tails removed");
}

/// Appends for ever, one event for each number, and says each number once it is acknowledged.
fn child(folder: std::path::PathBuf) {
    let files: Arc<dyn Io> = Arc::new(Files::at(folder));
    let (journal, found) = Journal::open(files, options(), &Watermarks::default()).unwrap();
    let mut out = std::io::stdout();
    writeln!(out, "ready").unwrap();
    let mut chance = Chance(found.next_seq);
    let mut next = found.next_seq;
    loop {
        let mut tickets = Vec::new();
        for _ in 0..=chance.below(4) {
            let size = 1 + chance.below(16);
            let batch = (next..next + size).map(event).collect();
            next += size;
            tickets.push(journal.submit(batch, Priority::Data).unwrap());
        }
        for ticket in tickets {
            let acked = ticket.wait().unwrap();
            writeln!(out, "{}", acked.last().unwrap().seq()).unwrap();
        }
    }
}
