//! Thousands of damaged inputs at every parser: no panic, no long thinking.

use std::time::{Duration, Instant};

use super::{catalog, context, sample};
use crate::{Format, Limits, NdjsonSplitter, examine, mask, split, strip_national_ids};

/// A small generator of numbers (xorshift64*), so that every run is the same run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(drawn).unwrap() % below.max(1)
    }
}

const PIECES: [&[u8]; 22] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"null",
    b"true",
    b"1e999",
    b"-",
    b"\\u",
    b"\\ud800",
    b"\\",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\n",
    b"{\"resourceType\":\"Patient\"}",
    b"\"contained\":[{}]",
    b"500112194003011",
    "长".as_bytes(),
    b"0.",
];

fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..=dice.roll(6) {
        let at = dice.roll(bytes.len() + 1);
        match dice.roll(6) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] ^= 1 << dice.roll(8),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => {
                let to = (at + dice.roll(200)).min(bytes.len());
                let part = bytes[at..to].to_vec();
                let other = dice.roll(bytes.len() + 1);
                bytes.splice(other..other, part);
            }
            4 => {
                let to = (at + dice.roll(40)).min(bytes.len());
                bytes.drain(at..to);
            }
            _ => drop(bytes.splice(at..at, PIECES[dice.roll(PIECES.len())].iter().copied())),
        }
    }
}

#[test]
fn damaged_inputs_do_not_panic_and_do_not_take_long() {
    let catalog = catalog();
    let names = [
        "patient.json",
        "blood-pressure.json",
        "diagnostic-report.json",
        "bundle.json",
        "vitals.ndjson",
        "ecg.json",
        "organization.json",
    ];
    let seeds: Vec<Vec<u8>> = names.iter().map(|n| sample(n)).collect();
    let mut dice = Dice(0x5EED_F41A);
    let (mut accepted, mut refused, mut slowest) = (0, 0, Duration::ZERO);
    for round in 0..6000 {
        let mut bytes = seeds[dice.roll(seeds.len())].clone();
        mutate(&mut bytes, &mut dice);
        let start = Instant::now();
        for format in [Format::Resource, Format::Bundle, Format::Ndjson] {
            for piece in
                split(&bytes, format, &Limits::DEFAULT).map_or_else(|_| Vec::new(), |p| p.pieces)
            {
                let Ok(item) = piece else { continue };
                match examine(&item.original, &catalog, &context()) {
                    Ok(found) => {
                        accepted += 1;
                        let record_type = catalog.get(&found.type_code).unwrap();
                        let groups: Vec<String> = record_type.groups.keys().cloned().collect();
                        let masked = mask(
                            &item.original,
                            record_type,
                            &groups[..1 + round % groups.len()],
                        )
                        .unwrap();
                        assert!(serde_json::from_slice::<serde_json::Value>(&masked.bytes).is_ok());
                    }
                    Err(fault) => {
                        refused += 1;
                        assert!(
                            serde_json::from_str::<serde_json::Value>(&fault.outcome.to_json())
                                .is_ok()
                        );
                    }
                }
                drop(strip_national_ids(&item.original));
            }
        }
        // What was never examined must not bring masking down either.
        drop(mask(
            &bytes,
            &catalog.types[round % catalog.types.len()],
            &["identifiers".into(), "free-text".into()],
        ));
        drop(strip_national_ids(&bytes));
        let mut splitter = NdjsonSplitter::new(Limits {
            resource_bytes: 300,
            ..Limits::DEFAULT
        });
        for portion in bytes.chunks(1 + dice.roll(500)) {
            drop(splitter.push(portion));
        }
        drop(splitter.finish());
        slowest = slowest.max(start.elapsed());
    }
    eprintln!("mutations: {accepted} accepted, {refused} refused, slowest round {slowest:?}");
    assert!(accepted > 100 && refused > 1000);
    assert!(slowest < Duration::from_secs(5));
}

#[test]
fn inputs_made_to_be_slow_are_not() {
    let catalog = catalog();
    let start = Instant::now();
    let many_keys: Vec<String> = (0..300_000).map(|i| format!("\"k{i}\":0")).collect();
    let nulls = vec!["null"; 199_000].join(",");
    let arrays = vec!["{}"; 199_000].join(",");
    for text in [
        format!("{{\"resourceType\":\"Patient\",{}}}", many_keys.join(",")),
        format!("{{\"resourceType\":\"Patient\",\"name\":[{nulls}]}}"),
        format!("{{\"resourceType\":\"Patient\",\"name\":[{arrays}]}}"),
        format!("{{\"resourceType\":\"Patient\",\"name\":[{{\"given\":[{nulls}]}}]}}"),
        format!(
            "{{\"resourceType\":\"Patient\",\"id\":\"{}\"}}",
            "\\u0031".repeat(150_000)
        ),
        format!(
            "{{\"resourceType\":\"Patient\",\"id\":\"{}\"}}",
            "500112194003011234".repeat(50_000)
        ),
    ] {
        let each = Instant::now();
        assert!(examine(text.as_bytes(), &catalog, &context()).is_err());
        drop(strip_national_ids(text.as_bytes()));
        drop(split(text.as_bytes(), Format::Bundle, &Limits::DEFAULT));
        eprintln!(
            "hostile input of {} bytes: {:?}",
            text.len(),
            each.elapsed()
        );
    }
    let spent = start.elapsed();
    eprintln!("six hostile inputs: {spent:?}");
    assert!(spent < Duration::from_secs(240), "{spent:?}");
}
