//! Durable appends each second, against the floor: one write and one `fdatasync` into a zero-filled file.
//!
//! `cargo run --release -p songhe-journal --example append -- [folder] [seconds per figure]`
//!
//! Journal and floor take turns in short slices, so that whatever else the machine does falls on both.
#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use songhe_journal::{Event, Files, Io, IoFile, Journal, Options, Priority, Watermarks};

const EVENT: usize = 1024;
const BATCHES: [usize; 3] = [1, 64, 512];
const SLICES: u32 = 20;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args_os().skip(1);
    let folder = arguments
        .next()
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds = arguments
        .next()
        .and_then(|text| text.into_string().ok()?.parse().ok());
    let slice = Duration::from_secs(seconds.unwrap_or(3)) / SLICES;
    let folder = folder.join(format!("songhe-append-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    println!("batch  journal/s    floor/s  ratio   (events of {EVENT} bytes)");
    for batch in BATCHES {
        let (mut floor, journal) = (Floor::new(&folder, batch)?, journal(&folder, batch)?);
        let (mut ours, mut theirs) = (0.0, 0.0);
        for _ in 0..SLICES {
            theirs += rate(slice, batch, || floor.write())?;
            ours += rate(slice, batch, || append(&journal, batch))?;
        }
        journal.close()?;
        let (ours, theirs) = (ours / f64::from(SLICES), theirs / f64::from(SLICES));
        println!(
            "{batch:>5} {ours:>10.0} {theirs:>10.0}  {:>5.2}",
            ours / theirs
        );
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Events each second of rounds that handle `batch` events.
fn rate(span: Duration, batch: usize, mut round: impl FnMut() -> Outcome<()>) -> Outcome<f64> {
    let start = Instant::now();
    let mut rounds = 0_u32;
    while start.elapsed() < span {
        round()?;
        rounds += 1;
    }
    Ok(f64::from(rounds) * f64::from(u32::try_from(batch)?) / start.elapsed().as_secs_f64())
}

fn journal(folder: &Path, batch: usize) -> Outcome<Journal> {
    let io: Arc<dyn Io> = Arc::new(Files::create(folder.join(format!("journal-{batch}")))?);
    Journal::create(&io, &Options::default(), [1; 16])?;
    let (journal, _) = Journal::open(io, Options::default(), &Watermarks::default())?;
    while journal.status().spares < Options::default().spares {
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(journal)
}

/// One submitter, one submit in flight: one frame. Making, hashing and copying the events are part of it.
fn append(journal: &Journal, batch: usize) -> Outcome<()> {
    let event = Event {
        leaf: vec![b'l'; 200],
        row: vec![b'r'; 100],
        body: vec![b'b'; EVENT - 300],
    };
    let acked = journal.submit(vec![event; batch], Priority::Data)?.wait()?;
    assert_eq!(acked.len(), batch);
    Ok(())
}

/// The same number of bytes without a journal, into a file as large as a segment, over and over.
struct Floor {
    file: Box<dyn IoFile>,
    bytes: Vec<u8>,
    at: u64,
}

impl Floor {
    fn new(folder: &Path, batch: usize) -> Outcome<Self> {
        let file = Files::create(folder)?.create("floor")?;
        file.fill_zero(0, Options::default().segment_size)?;
        file.sync_data()?;
        Ok(Self {
            file,
            bytes: vec![b'x'; EVENT * batch],
            at: 0,
        })
    }

    fn write(&mut self) -> Outcome<()> {
        let len = u64::try_from(self.bytes.len())?;
        if self.at + len > Options::default().segment_size {
            self.at = 0;
        }
        self.file.write_all_at(&self.bytes, self.at)?;
        self.file.sync_data()?;
        self.at += len;
        Ok(())
    }
}
