//! Measures blinding, evaluating, finalising and the way at home, in microseconds per element.

use std::time::Instant;

use ring::rand::{SecureRandom, SystemRandom};
use songhe_subject::{KEY_INFO, OprfKey, blind, evaluate, finalize, pseudonym, subject_input};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let system = SystemRandom::new();
    let fill = |out: &mut [u8]| system.fill(out);
    let key = OprfKey::derive(&[7; 32], KEY_INFO)?;
    let public = key.public_key();
    let inputs = |n: usize| {
        (0..n)
            .map(|i| subject_input("measure", &format!("{i:018}")))
            .collect::<Result<Vec<_>, _>>()
    };
    for batch in [1_usize, 8, 64] {
        let rounds = 1_024 / batch;
        let [mut blinding, mut evaluating, mut finalizing, mut at_home] = [0_u128; 4];
        for _round in 0..rounds {
            let started = Instant::now();
            let pairs = inputs(batch)?
                .into_iter()
                .map(|i| blind(i, fill))
                .collect::<Result<Vec<_>, _>>()?;
            blinding += started.elapsed().as_nanos();
            let (states, blinded): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            let started = Instant::now();
            let (evaluated, proof) = evaluate(&key, &blinded, fill)?;
            evaluating += started.elapsed().as_nanos();
            let started = Instant::now();
            let remote = finalize(states, &evaluated, &proof, &public)?;
            finalizing += started.elapsed().as_nanos();
            let started = Instant::now();
            let local = inputs(batch)?
                .iter()
                .map(|i| pseudonym(&key, i))
                .collect::<Result<Vec<_>, _>>()?;
            at_home += started.elapsed().as_nanos();
            if local != remote {
                return Err("remote and local pseudonyms differ".into());
            }
        }
        let per_element = |ns: u128| ns / 1_000 / (rounds * batch) as u128;
        report(&format!(
            "batch {batch:2}: blind {} us, evaluate {} us, finalize {} us, at home {} us per element",
            per_element(blinding),
            per_element(evaluating),
            per_element(finalizing),
            per_element(at_home)
        ));
    }
    Ok(())
}

#[expect(
    clippy::print_stdout,
    reason = "printing is what a measuring programme is for"
)]
fn report(line: &str) {
    println!("{line}");
}
