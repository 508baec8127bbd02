//! Measures the index: `cargo run --release -p songhe-index --example measure -- <folder> [rows]`.
#![expect(clippy::print_stdout, reason = "a measuring program reports on stdout")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use songhe_index::{
    Builder, Checkpoint, Index, Op, OpenOptions, Opened, SledIndex, Table, open_supervised,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// 40-byte key (a tag and a number) and 64-byte value: a pointer row.
fn row(i: u64) -> Op {
    let mut key = Vec::with_capacity(40);
    for part in 0..4 {
        key.extend_from_slice(&scatter(i ^ (part << 56)).to_be_bytes());
    }
    key.extend_from_slice(&i.to_be_bytes());
    let value: Vec<u8> = (0..8)
        .flat_map(|part| scatter(!i ^ (part << 56)).to_be_bytes())
        .collect();
    Op::put(Table(1), key, value)
}

fn scatter(i: u64) -> u64 {
    let mut h = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h ^ (h >> 31)
}

fn at(next_seq: u64) -> Checkpoint {
    Checkpoint {
        epoch: 1,
        next_seq,
        frame_hash: [0; 32],
    }
}

fn fresh(dir: &Path) -> Outcome<Builder> {
    match open_supervised(dir, OpenOptions::default())? {
        Opened::Rebuild { builder, .. } => Ok(builder),
        Opened::Ready(_) => Err("give an empty folder".into()),
    }
}

fn opened(dir: &Path) -> Outcome<(SledIndex, f64)> {
    let begun = Instant::now();
    match open_supervised(dir, OpenOptions::default())? {
        Opened::Ready(index) => Ok((index, begun.elapsed().as_secs_f64())),
        Opened::Rebuild { reason, .. } => Err(reason.into()),
    }
}

fn applied(dir: &Path, rows: u64, per_batch: u64, flush_every: u64) -> Outcome<()> {
    let index = fresh(dir)?.finish(&at(0))?;
    let begun = Instant::now();
    let mut n = 0;
    let mut batches = 0;
    while n < rows {
        let ops: Vec<Op> = (n..(n + per_batch).min(rows)).map(row).collect();
        n += ops.len() as u64;
        index.apply(&ops, &at(n))?;
        batches += 1;
        if flush_every != 0 && batches % flush_every == 0 {
            index.flush()?;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    index.flush()?;
    println!(
        "apply: batches of {per_batch:>4}, flush every {flush_every} batches: {rows} rows in {seconds:.1} s = {:.0} rows/s, {:.0} B a row on disk",
        rows as f64 / seconds,
        index.size_on_disk()? as f64 / rows as f64
    );
    reads(&index, rows)?;
    drop(index);
    let (index, seconds) = opened(dir)?;
    println!("  open with full check: {seconds:.1} s");
    drop(index);
    Ok(())
}

fn reads(index: &dyn Index, rows: u64) -> Outcome<()> {
    const READS: u64 = 100_000;
    let begun = Instant::now();
    for i in 0..READS {
        let Op::Put { table, key, .. } = row(scatter(i) % rows) else {
            continue;
        };
        index.get(table, &key)?.ok_or("a row is missing")?;
    }
    let micros = begun.elapsed().as_secs_f64() * 1e6;
    println!("  get of a random row: {:.1} us", micros / READS as f64);
    Ok(())
}

fn rebuilt(dir: &Path, rows: u64) -> Outcome<()> {
    let mut builder = fresh(dir)?;
    let begun = Instant::now();
    for i in 0..rows {
        builder.push(&row(i))?;
    }
    let pushed = begun.elapsed().as_secs_f64();
    println!("pushed: {}", peak_rss());
    let index = builder.finish(&at(rows))?;
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "rebuild: {rows} rows in {seconds:.1} s ({pushed:.1} s of it pushing and spilling), {:.0} B a row on disk",
        index.size_on_disk()? as f64 / rows as f64
    );
    println!("  so far {}", peak_rss());
    reads(&index, rows)?;
    let begun = Instant::now();
    index.verify()?;
    println!("  verify: {:.1} s", begun.elapsed().as_secs_f64());
    drop(index);
    let (index, seconds) = opened(dir)?;
    println!("  open with full check: {seconds:.1} s");
    drop(index);
    Ok(())
}

fn peak_rss() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find(|l| l.starts_with("VmHWM"))
        .unwrap_or("VmHWM unknown")
        .to_owned()
}

fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().ok_or("give an empty folder")?);
    let rows: u64 = args.next().map_or(Ok(1_000_000), |n| n.parse())?;
    let what = args.next().unwrap_or_else(|| "all".into());
    if what == "all" || what == "rebuild" {
        rebuilt(&dir.join("rebuild"), rows)?;
        println!("{}", peak_rss());
    }
    if what == "all" || what == "apply" {
        for (per_batch, flush_every) in [(64, 0), (512, 0), (64, 100)] {
            applied(
                &dir.join(format!("apply-{per_batch}-{flush_every}")),
                rows,
                per_batch,
                flush_every,
            )?;
        }
        println!("{}", peak_rss());
    }
    Ok(())
}
