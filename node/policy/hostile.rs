//! Policies that misbehave and modules that are none: contained, and the next good question is answered.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use record::decision::{Decide, PolicyFault};
use record::{Purpose, Question, Role, Tier};

use crate::canonical::sha256_hex;
use crate::differential::PATIENT;
use crate::generator::{Rng, question};
use crate::{Bundle, Engine, EngineFault, EngineOptions};

const WASM: &[u8] = include_bytes!("testdata/hostile.wasm");
const REGO: &str = include_str!("testdata/hostile.rego");

fn bundle_of(wasm: &[u8], entrypoint: &str) -> Bundle {
    let manifest = serde_json::json!({
        "policy_id": "test.hostile",
        "entrypoint": entrypoint,
        "contract_version": 1,
        "profile_version": 1,
        "opa_version": "1.20.2",
        "sources": {"hostile.rego": sha256_hex(REGO.as_bytes())},
        "wasm_sha256": sha256_hex(wasm),
    });
    Bundle::from_parts(
        &manifest.to_string(),
        &BTreeMap::from([("hostile.rego".to_owned(), REGO.to_owned())]),
        wasm.to_vec(),
        r#"{"version":"hostile"}"#,
    )
    .unwrap()
}

fn hostile(options: EngineOptions) -> Engine {
    Engine::new(&bundle_of(WASM, "songhe/access/decision"), options).unwrap()
}

/// One record type asked for by a role and purpose that the policy knows a trick for.
fn ask(role: Role, purpose: Purpose) -> Question {
    let mut q: Question = serde_json::from_str(
        r#"{"v":1,"verb":"fetch","purpose":"TREAT","basis":"consent",
        "requester":{"member":"h-one","kind":"hospital","district":"530111"},"role":"physician",
        "holder":{"member":"h-two","kind":"hospital","district":"530111"},
        "types":[{"code":"vitals","level":3}],"consents":[],"env":{"now":1795313730}}"#,
    )
    .unwrap();
    q.role = role;
    q.purpose = purpose;
    q
}

fn answers_well(engine: &Engine) {
    let verdict = engine
        .decide(&ask(Role::Physician, Purpose::Treat))
        .unwrap();
    assert_eq!(verdict.policy_version, "hostile");
    assert!(verdict.types.values().all(|g| g.tier == Tier::None));
}

fn fault_of(engine: &Engine, role: Role, purpose: Purpose) -> PolicyFault {
    let fault = engine.decide(&ask(role, purpose)).unwrap_err();
    answers_well(engine);
    fault
}

#[test]
fn an_endless_loop_is_stopped_in_time() {
    let engine = hostile(EngineOptions {
        instances: 1,
        // A module of OPA frees nothing while it evaluates: with little memory that limit might come first.
        memory_max_bytes: 1 << 30,
        deadline_ms: 200,
        ..PATIENT
    });
    let began = Instant::now();
    let fault = engine
        .decide(&ask(Role::Physician, Purpose::Etreat))
        .unwrap_err();
    let took = began.elapsed();
    assert_eq!(fault, PolicyFault::Engine("it ran out of time".into()));
    assert!(took >= Duration::from_millis(150), "{took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    let made = engine.instances_made();
    answers_well(&engine);
    assert_eq!(
        engine.instances_made(),
        made + 1,
        "the interrupted instance is gone"
    );
}

#[test]
fn a_huge_allocation_is_refused() {
    let engine = hostile(PATIENT);
    assert_eq!(
        fault_of(&engine, Role::Physician, Purpose::Caremgt),
        PolicyFault::Engine("it needs more memory than it may have".into())
    );
}

#[test]
fn answers_that_are_no_verdicts_are_faults() {
    let engine = hostile(PATIENT);
    for (role, purpose) in [
        (Role::Physician, Purpose::Eligdtrm),
        (Role::Physician, Purpose::Hoperat),
        (Role::Physician, Purpose::Pubhlth),
        (Role::Physician, Purpose::Hresch),
        (Role::Physician, Purpose::Patrqt),
        (Role::Nurse, Purpose::Treat),
        (Role::Registrar, Purpose::Treat),
        (Role::CareWorker, Purpose::Treat),
        (Role::BenefitOfficer, Purpose::Treat),
        (Role::Auditor, Purpose::Treat),
        (Role::Operator, Purpose::Treat),
    ] {
        let fault = fault_of(&engine, role, purpose);
        assert!(
            matches!(fault, PolicyFault::Answer(_)),
            "{role} {purpose}: {fault}"
        );
    }
    assert_eq!(
        engine.instances_made(),
        1 + 1,
        "an answer of a megabyte costs its instance, a bad one does not"
    );
}

#[test]
fn unknown_duties_are_faults() {
    let engine = hostile(PATIENT);
    for (role, purpose) in [
        (Role::Physician, Purpose::Hpaymt),
        (Role::FamilyDoctor, Purpose::Treat),
    ] {
        let fault = fault_of(&engine, role, purpose);
        assert!(
            matches!(fault, PolicyFault::Obligation(_)),
            "{role} {purpose}: {fault}"
        );
    }
}

#[test]
fn an_evaluation_that_fails_is_a_fault() {
    let engine = hostile(PATIENT);
    for (role, purpose) in [
        (Role::Physician, Purpose::Famrqt),
        (Role::SourceSystem, Purpose::Treat),
    ] {
        let fault = fault_of(&engine, role, purpose);
        assert!(
            matches!(fault, PolicyFault::Engine(_)),
            "{role} {purpose}: {fault}"
        );
    }
}

#[test]
fn modules_that_are_none_are_refused_at_the_start() {
    let refused = |wasm: &[u8], entrypoint: &str| {
        let fault = Engine::new(&bundle_of(wasm, entrypoint), PATIENT).unwrap_err();
        assert!(matches!(fault, EngineFault::Module(_)), "{fault}");
        fault.to_string()
    };
    let good = "songhe/access/decision";
    assert!(refused(WASM, "songhe/access/decisions").contains("entry point"));
    refused(b"", good);
    refused(b"(module)", good);
    refused(b"\0asm\x01\0\0\0", good);
    refused(b"not a module at all", good);
    for cut in [9, 1_000, WASM.len() / 2, WASM.len() - 1] {
        refused(&WASM[..cut], good);
    }
    let mut flipped = WASM.to_vec();
    flipped[4] ^= 1;
    refused(&flipped, good);
}

#[test]
fn a_policy_with_a_clock_of_its_own_is_refused_at_the_start() {
    // The same module, asking for a builtin that would read the time zone and the clock's calendar.
    let name = b"uuid.rfc4122";
    let other = b"time.weekday";
    assert_eq!(name.len(), other.len());
    let mut wasm = WASM.to_vec();
    let mut renamed = 0;
    for at in 0..wasm.len() - name.len() {
        if wasm[at..].starts_with(name) {
            wasm[at..at + name.len()].copy_from_slice(other);
            renamed += 1;
        }
    }
    assert!(renamed > 0);
    let fault = Engine::new(&bundle_of(&wasm, "songhe/access/decision"), PATIENT).unwrap_err();
    assert!(matches!(fault, EngineFault::Module(_)), "{fault}");
}

#[test]
fn mutated_modules_never_take_the_process_with_them() {
    let mut rng = Rng::new(0xbad_c0de);
    let mut refused = 0_u32;
    for _ in 0..12 {
        let mut wasm = WASM.to_vec();
        for _ in 0..3 {
            // Sparing the header: what is behind it is compiled or at least validated.
            let at = 8 + rng.below(wasm.len() - 8);
            wasm[at] ^= u8::try_from(1 << rng.below(8)).unwrap();
        }
        let options = EngineOptions {
            deadline_ms: 100,
            ..PATIENT
        };
        match Engine::new(&bundle_of(&wasm, "songhe/access/decision"), options) {
            Err(_) => refused += 1,
            Ok(engine) => {
                // Whatever it answers now is read as strictly as ever; nothing hangs.
                for _ in 0..5 {
                    let q = question(&mut rng);
                    if let Ok(verdict) = engine.decide(&q) {
                        assert!(
                            verdict
                                .types
                                .keys()
                                .all(|c| q.types.iter().any(|t| &t.code == c))
                        );
                    }
                }
            }
        }
    }
    assert!(refused > 0);
}

#[test]
fn a_question_too_long_is_refused_and_a_long_one_costs_its_instance() {
    let engine = hostile(EngineOptions {
        instances: 1,
        input_max_bytes: 256 * 1024,
        ..PATIENT
    });
    let filled = |count: usize| {
        let mut q = ask(Role::Physician, Purpose::Treat);
        let asked = q.types[0].clone();
        q.types = vec![asked; count];
        q
    };
    let made = engine.instances_made();
    let long = filled(3_000);
    engine.decide(&long).unwrap();
    answers_well(&engine);
    assert_eq!(engine.instances_made(), made + 1);
    let fault = engine.decide(&filled(10_000)).unwrap_err();
    assert!(matches!(fault, PolicyFault::Engine(_)));
    answers_well(&engine);
    assert_eq!(
        engine.instances_made(),
        made + 1,
        "a refused question does not reach an instance"
    );
}

#[test]
fn instances_grow_old_and_are_replaced() {
    let engine = hostile(EngineOptions {
        instances: 1,
        evaluations_max: 3,
        ..PATIENT
    });
    for _ in 0..10 {
        answers_well(&engine);
    }
    // The probe and ten questions are eleven evaluations, three for each instance.
    assert_eq!(engine.instances_made(), 4);
}

#[test]
fn options_out_of_range_are_named() {
    let bundle = bundle_of(WASM, "songhe/access/decision");
    for (options, name) in [
        (
            EngineOptions {
                instances: 0,
                ..PATIENT
            },
            "instances",
        ),
        (
            EngineOptions {
                memory_max_bytes: 1,
                ..PATIENT
            },
            "memory_max_bytes",
        ),
        (
            EngineOptions {
                deadline_ms: 0,
                ..PATIENT
            },
            "deadline_ms",
        ),
        (
            EngineOptions {
                wait_ms: 60_000,
                ..PATIENT
            },
            "wait_ms",
        ),
        (
            EngineOptions {
                input_max_bytes: 0,
                ..PATIENT
            },
            "input_max_bytes",
        ),
        (
            EngineOptions {
                evaluations_max: 0,
                ..PATIENT
            },
            "evaluations_max",
        ),
    ] {
        let fault = Engine::new(&bundle, options).unwrap_err();
        assert!(
            matches!(fault, EngineFault::Options(n) if n == name),
            "{fault}"
        );
    }
    let tight = EngineOptions {
        memory_max_bytes: 1 << 20,
        ..PATIENT
    };
    assert!(
        Engine::new(&bundle, tight).is_ok(),
        "the least memory suffices for a small policy"
    );
}
