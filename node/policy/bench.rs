//! How long a decision takes: `cargo bench -p songhe-policy`. Prints figures, judges none.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a measurement stops at the first surprise and prints what it finds"
)]

use std::time::{Duration, Instant};

use record::Question;
use record::decision::Decide;
use songhe_policy::{Bundle, Engine, EngineOptions};

const BASE: &str = r#"{"v":1,"verb":"fetch","purpose":"TREAT","basis":"consent",
    "requester":{"member":"h-one","kind":"hospital","district":"530111"},"role":"physician",
    "holder":{"member":"h-two","kind":"hospital","district":"530111"},
    "types":[TYPES],"consents":[
    {"id":"0000000000000000000000000000000a","effect":"permit","types":[],"level_ceiling":4,"until":2000000000}],
    "env":{"now":1795313730}}"#;
const NAMES: [&str; 10] = [
    "vitals",
    "ecg",
    "alert",
    "profile",
    "condition",
    "allergy",
    "medication",
    "encounter",
    "exam-report",
    "health-summary",
];

fn question(types: usize) -> Question {
    let asked: Vec<String> = NAMES
        .iter()
        .take(types)
        .map(|name| format!(r#"{{"code":"{name}","level":3}}"#))
        .collect();
    serde_json::from_str(&BASE.replace("TYPES", &asked.join(","))).expect("a question")
}

fn main() {
    let bundle = Bundle::builtin().expect("the bundle belongs together");
    let options = EngineOptions {
        deadline_ms: 10_000,
        ..EngineOptions::default()
    };
    let began = Instant::now();
    let engine = Engine::new(&bundle, options).expect("the policy answers");
    println!(
        "engine ready after {} ms, policy {}",
        began.elapsed().as_millis(),
        record::id::hex_encode(&engine.digest())
    );
    for types in [0, 1, 10] {
        let asked = question(types);
        let mut took: Vec<Duration> = Vec::new();
        for round in 0..6_000 {
            let began = Instant::now();
            let verdict = engine.decide(&asked).expect("a verdict");
            let elapsed = began.elapsed();
            assert_eq!(verdict.types.len(), types);
            if round >= 1_000 {
                took.push(elapsed);
            }
        }
        took.sort_unstable();
        let at = |share: f64| {
            let place = (took.len() as f64 * share) as usize;
            took.get(place).map_or(0.0, |d| d.as_secs_f64() * 1e6)
        };
        println!(
            "{types:>2} types: least {:.0} us, median {:.0} us, 99 % {:.0} us",
            at(0.0),
            at(0.5),
            at(0.99)
        );
    }
}
