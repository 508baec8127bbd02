//! Measures sealing and opening bodies, tags, commitments, wrapped keys and the passphrase hash.

use std::hint::black_box;
use std::time::Instant;

use songhe_seal::{
    Argon2Cost, Kek, Keyring, SealError, SigningKey, SubjectKey, SystemEntropy, Unlock,
};

const ROUNDS: u32 = 5_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let entropy = SystemEntropy::new();
    let key = SubjectKey::generate(&entropy)?;
    for size in [1_024, 16 * 1_024] {
        let plain = vec![0x5a; size];
        let sealed = key.seal_body(&plain, b"measure", &entropy)?;
        timed(&format!("seal body {size} B"), || {
            key.seal_body(&plain, b"measure", &entropy)
        })?;
        timed(&format!("open body {size} B"), || {
            key.open_body(&sealed, b"measure")
        })?;
        timed(&format!("commitment {size} B"), || {
            key.commitment([1; 16], &plain)
        })?;
    }
    let kek = Kek::generate(&entropy)?;
    let wrapped = key.wrap(&kek, [2; 16], &entropy)?;
    timed("tag", || key.tag([1; 16]))?;
    timed("wrap key", || key.wrap(&kek, [2; 16], &entropy))?;
    timed("unwrap key", || SubjectKey::unwrap(&kek, &wrapped, [2; 16]))?;
    let signing = SigningKey::generate(&entropy)?;
    let signature = signing.sign("measure/v1", b"message");
    timed("sign", || Ok(signing.sign("measure/v1", b"message")))?;
    timed("verify", || {
        signing
            .verifying_key()
            .verify("measure/v1", b"message", &signature)
    })?;
    let unlock = Unlock::passphrase(b"a passphrase to measure")?.at_cost(Argon2Cost::DEFAULT);
    let started = Instant::now();
    black_box(Keyring::generate(&entropy)?.seal(&unlock, &entropy)?);
    report(&format!(
        "seal keyring, argon2id 64 MiB x 3: {} ms",
        started.elapsed().as_millis()
    ));
    Ok(())
}

fn timed<T>(what: &str, mut action: impl FnMut() -> Result<T, SealError>) -> Result<(), SealError> {
    let started = Instant::now();
    for _round in 0..ROUNDS {
        black_box(action()?);
    }
    let us = started.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS);
    report(&format!("{what}: {us:.2} us"));
    Ok(())
}

#[expect(
    clippy::print_stdout,
    reason = "printing is what a measuring programme is for"
)]
fn report(line: &str) {
    println!("{line}");
}
