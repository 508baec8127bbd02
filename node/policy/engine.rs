//! The engine: answers questions with a bundle, on a bounded pool of sandboxed instances.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use record::decision::{Decide, PolicyFault};
use record::id::hex_encode;
use record::{Question, Verdict};
use serde_json::value::{RawValue, to_raw_value};

use crate::answer;
use crate::bundle::{Bundle, Manifest};
use crate::pool::{NoneFree, Pool};
use crate::sandbox::{Instance, Limits, Sandbox, Unusable};

/// An instance that has read a question of more bytes than this is not used again: its memory never shrinks.
const OUTSIZE_INPUT_BYTES: usize = 64 * 1024;
/// An instance that holds more memory than this is not used again.
const OUTSIZE_MEMORY_BYTES: usize = 4 * 1024 * 1024;

/// What evaluations may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// The most instances, and so the most evaluations at the same time (1 to 64).
    pub instances: usize,
    /// The most memory of one instance, in bytes (1 MiB to 1 GiB).
    pub memory_max_bytes: usize,
    /// How long one evaluation may take, in milliseconds (1 to 10,000); measured to about a fifth.
    pub deadline_ms: u64,
    /// How long to wait for a free instance, in milliseconds (0 to 10,000).
    pub wait_ms: u64,
    /// The most bytes of a question as JSON (1 KiB to 1 MiB).
    pub input_max_bytes: usize,
    /// After so many evaluations an instance is replaced (at least 1).
    pub evaluations_max: u32,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            instances: 4,
            memory_max_bytes: 32 * 1024 * 1024,
            deadline_ms: 50,
            wait_ms: 100,
            input_max_bytes: 256 * 1024,
            evaluations_max: 10_000,
        }
    }
}

impl EngineOptions {
    fn check(&self) -> Result<(), EngineFault> {
        let checks = [
            ("instances", (1..=64).contains(&self.instances)),
            (
                "memory_max_bytes",
                (1 << 20..=1 << 30).contains(&self.memory_max_bytes),
            ),
            ("deadline_ms", (1..=10_000).contains(&self.deadline_ms)),
            ("wait_ms", self.wait_ms <= 10_000),
            (
                "input_max_bytes",
                (1 << 10..=1 << 20).contains(&self.input_max_bytes),
            ),
            ("evaluations_max", self.evaluations_max >= 1),
        ];
        match checks.into_iter().find(|(_, ok)| !ok) {
            Some((name, _)) => Err(EngineFault::Options(name)),
            None => Ok(()),
        }
    }
}

/// Why a bundle cannot be put to work.
#[derive(Debug, thiserror::Error)]
pub enum EngineFault {
    /// An option is out of its range.
    #[error("the policy engine's option `{0}` is out of its range")]
    Options(&'static str),
    /// The module does not compile, start or have the entry point.
    #[error("the policy cannot be used: {0}")]
    Module(String),
    /// The policy does not answer the simplest question with a verdict.
    #[error("the policy does not answer a question without record types")]
    Probe(#[source] PolicyFault),
}

impl From<Unusable> for EngineFault {
    fn from(unusable: Unusable) -> Self {
        Self::Module(unusable.to_string())
    }
}

/// A policy at work. Cheap to ask from many threads; blocks the caller for as long as the evaluation takes.
///
/// The policy is not trusted: time, memory, input and answer are limited, and an instance that
/// failed, grew or grew old is thrown away. Dropping the engine ends its one thread.
pub struct Engine {
    sandbox: Sandbox,
    pool: Pool<Instance>,
    options: EngineOptions,
    manifest: Manifest,
    digest: [u8; 32],
    instances_made: AtomicU64,
}

impl Engine {
    /// Compiles the bundle, starts one instance and asks it a question, so that a policy that cannot
    /// answer is refused here and not at the first request. Takes some 0.3 s.
    ///
    /// # Errors
    /// [`EngineFault`]: keep the policy that is at work.
    pub fn new(bundle: &Bundle, options: EngineOptions) -> Result<Self, EngineFault> {
        options.check()?;
        let limits = Limits {
            memory_max_bytes: options.memory_max_bytes,
            deadline_ms: options.deadline_ms,
        };
        let engine = Self {
            sandbox: Sandbox::new(bundle, limits)?,
            pool: Pool::new(options.instances, Duration::from_millis(options.wait_ms)),
            options,
            manifest: bundle.manifest().clone(),
            digest: bundle.digest(),
            instances_made: AtomicU64::new(0),
        };
        let watch = engine.sandbox.watch();
        let lease = engine.pool.take(|| engine.make()).map_err(|e| match e {
            NoneFree::Make(unusable) => EngineFault::from(unusable),
            NoneFree::Busy => EngineFault::Module("no instance is free".to_owned()),
        })?;
        lease.give_back();
        drop(watch);
        engine.probe()?;
        Ok(engine)
    }

    /// What the bundle says of itself.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// How many instances were made since the start: rises when instances are replaced. For metrics.
    #[must_use]
    pub fn instances_made(&self) -> u64 {
        self.instances_made.load(Ordering::Relaxed)
    }

    /// Evaluates a question that is already JSON; the answer is OPA's result set, unchecked.
    pub(crate) fn evaluate(&self, input: &RawValue) -> Result<Box<RawValue>, PolicyFault> {
        if input.get().len() > self.options.input_max_bytes {
            return Err(PolicyFault::Engine(
                "the question has more bytes than it may have".to_owned(),
            ));
        }
        let watch = self.sandbox.watch();
        let mut lease = self.pool.take(|| self.make()).map_err(|e| {
            PolicyFault::Engine(match e {
                NoneFree::Busy => "all its instances are busy".to_owned(),
                NoneFree::Make(unusable) => unusable.to_string(),
            })
        })?;
        let Some(instance) = lease.thing() else {
            return Err(PolicyFault::Engine("no instance is free".to_owned()));
        };
        let answer = self.sandbox.evaluate(instance, input)?; // the lease drops, and with it the spoilt instance
        let fresh = instance.evaluations() < self.options.evaluations_max
            && instance.memory_bytes() <= OUTSIZE_MEMORY_BYTES
            && input.get().len() <= OUTSIZE_INPUT_BYTES;
        if fresh {
            lease.give_back();
        }
        drop(watch);
        Ok(answer)
    }

    fn make(&self) -> Result<Instance, Unusable> {
        self.instances_made.fetch_add(1, Ordering::Relaxed);
        self.sandbox.instance()
    }

    fn probe(&self) -> Result<(), EngineFault> {
        let question: Question = serde_json::from_str(PROBE)
            .map_err(|e| EngineFault::Probe(PolicyFault::Engine(answer::detail(&e.to_string()))))?;
        self.decide(&question).map_err(EngineFault::Probe)?;
        Ok(())
    }
}

/// The simplest question: nothing is asked for, so nothing can be granted.
const PROBE: &str = r#"{"v":1,"verb":"fetch","purpose":"TREAT","basis":"consent",
    "requester":{"member":"probe","kind":"hospital","district":"110000"},"role":"physician",
    "holder":{"member":"probe","kind":"hospital","district":"110000"},
    "types":[],"consents":[],"env":{"now":0}}"#;

impl Decide for Engine {
    fn decide(&self, question: &Question) -> Result<Verdict, PolicyFault> {
        let input = to_raw_value(question)
            .map_err(|e| PolicyFault::Engine(answer::detail(&e.to_string())))?;
        let raw = self.evaluate(&input)?;
        answer::read(raw.get(), question)
    }

    fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("policy_id", &self.manifest.policy_id)
            .field("digest", &hex_encode(&self.digest))
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;
    use crate::differential::{PATIENT, engine};
    use crate::generator::{Rng, question};

    #[test]
    fn many_threads_get_the_answers_that_one_gets() {
        let mut rng = Rng::new(0x7_0001);
        let asked: Vec<(Question, Verdict)> = (0..100)
            .map(|_| {
                let q = question(&mut rng);
                let verdict = engine().decide(&q).unwrap();
                (q, verdict)
            })
            .collect();
        thread::scope(|scope| {
            for worker in 0..6 {
                let asked = &asked;
                scope.spawn(move || {
                    for (q, verdict) in asked.iter().cycle().skip(worker * 17).take(100) {
                        assert_eq!(&engine().decide(q).unwrap(), verdict);
                    }
                });
            }
        });
        assert!(engine().instances_made() < 100, "instances are reused");
    }

    #[test]
    fn decides_inside_a_task_of_tokio_far_beyond_its_budget() {
        let engine = Arc::new(Engine::new(&Bundle::builtin().unwrap(), PATIENT).unwrap());
        for runtime in [
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .build(),
            tokio::runtime::Builder::new_current_thread().build(),
        ] {
            let engine = Arc::clone(&engine);
            runtime.unwrap().block_on(async move {
                let mut tasks = Vec::new();
                for seed in 0..3 {
                    let engine = Arc::clone(&engine);
                    tasks.push(tokio::spawn(async move {
                        // One poll of this task: its budget of 128 steps is never refilled.
                        let mut rng = Rng::new(seed);
                        (0..300).all(|_| engine.decide(&question(&mut rng)).is_ok())
                    }));
                }
                for task in tasks {
                    assert!(task.await.unwrap());
                }
            });
        }
    }

    #[test]
    fn the_digest_is_the_bundles_and_debug_says_which_policy() {
        let bundle = Bundle::builtin().unwrap();
        assert_eq!(engine().digest(), bundle.digest());
        assert_eq!(engine().manifest(), bundle.manifest());
        let text = format!("{:?}", engine());
        assert!(text.contains("songhe.access") && text.contains(&hex_encode(&bundle.digest())));
    }
}
