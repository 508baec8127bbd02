//! Killed under load, over and over, on one data folder: every acknowledgement holds.

use std::time::{Duration, Instant};

use record::AgencyKind;
use songhe::config::Limits;
use tokio::process::Command;
use wire::v1;

use crate::load::Shared;
use crate::people::{Dice, resident};
use crate::stopped::{Keys, LogSince, assert_only_torn, flip, fsck, index_rows};
use crate::support::{Federation, Member, PASSPHRASE, files_below, item, put};

/// How often a node is killed unless `SONGHE_KILL_ROUNDS` says otherwise.
const ROUNDS: u64 = 6;
/// The longest a node works before it is killed, milliseconds.
const WORK_MS: u64 = 600;
/// Small, so that many rounds cross from one segment to the next.
pub(crate) const SEGMENT_BYTES: u64 = 1 << 20;
/// People who are looked at after each kill besides those of the round.
const LOOKED_AT: u64 = 60;

/// Two members with small segments; nothing runs yet.
pub(crate) fn small_city() -> Federation {
    let limits = Limits {
        record_bytes: 512 << 10,
        ..Limits::default()
    };
    let members = [
        ("community-1", AgencyKind::Community),
        ("hospital-1", AgencyKind::Hospital),
    ];
    let city = Federation::found(&members, &limits);
    for member in &city.members {
        let mut config = member.home.config().unwrap();
        config.journal.segment_bytes = SEGMENT_BYTES;
        std::fs::write(
            member.home.path("node.toml"),
            toml::to_string(&config).unwrap(),
        )
        .unwrap();
    }
    city
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_every_kill() {
    let rounds = std::env::var("SONGHE_KILL_ROUNDS")
        .map_or(ROUNDS, |n| n.parse().expect("SONGHE_KILL_ROUNDS"));
    let seed = std::env::var("SONGHE_KILL_SEED")
        .map_or(0x0050_6e67, |n| n.parse().expect("SONGHE_KILL_SEED"));
    let began = Instant::now();
    let mut dice = Dice::new(seed);
    let mut city = small_city();
    let keys = Keys::of(&city.member("community-1").home);
    let member = city.member_mut("community-1");
    let shared = Shared::default();
    let mut seen = Seen::default();
    for round in 0..rounds {
        let work_ms = dice.below(WORK_MS);
        let load_seed = seed.wrapping_mul(1_000).wrapping_add(round);
        let told = format!("seed {seed}, round {round}, killed {work_ms} ms after the load began");
        if dice.chance(20) {
            kill_while_starting(member, dice.below(1_500)).await;
            seen.killed_starting += 1;
        }
        let broken_index = damage_index(member, &mut dice, &mut seen);
        let log = LogSince::now(member.log_path());
        let process = member
            .try_start(&[])
            .await
            .unwrap_or_else(|e| panic!("{told}: did not start: {e}"));
        seen.opening(&process.ready);
        member.process = Some(process);
        put_again(member, &shared, &mut dice, &told).await;

        let people_before = shared.model().people();
        let load = shared.begin(member, load_seed);
        tokio::time::sleep(Duration::from_millis(work_ms)).await;
        load.expect_the_end();
        member.kill().await;
        load.ended().await;

        let text = log.text();
        // An engine that meets a damaged file may panic inside its supervision; nothing else may.
        assert!(broken_index || !text.contains("panicked"), "{told}: {text}");
        let report = fsck(&member.home);
        assert_only_torn(&report, shared.model().erasing());
        seen.torn += u64::from(!report.is_clean());
        // Otherwise the node itself is the first to open what the kill has left.
        if round + 1 == rounds || dice.chance(50) {
            let mut model = shared.take();
            let people: Vec<u32> = if round + 1 == rounds {
                model.people()
            } else {
                some(&model.people(), &people_before, &mut dice)
            };
            let (ledger, opening) = keys.ledger().unwrap_or_else(|e| panic!("{told}: {e}"));
            seen.replayed += opening.replayed;
            seen.lost
                .extend(model.compare(&keys, &ledger, &people).await);
            assert!(seen.lost.is_empty(), "{told}: {:#?}", seen.lost);
            // An erasure that was cut off is done or undone now, and stays so.
            settle_erasures(&mut model, &keys, &ledger);
            seen.compared += people.len() as u64;
            shared.put_back(model);
        }
    }
    the_comparison_would_tell(&shared, &keys).await;
    rebuilt_is_equal(member, &keys);
    let report = fsck(&member.home);
    assert!(report.is_clean(), "{:?}", report.damage);
    let acked = shared.model().acked;
    assert!(
        acked > rounds,
        "the load did nothing: {acked} events acknowledged"
    );
    eprintln!(
        "kill -9: {rounds} rounds with seed {seed}, {acked} acknowledged events, lost {}; {} events in {} segments; {seen}; {:.0} s",
        seen.lost.len(),
        report.events,
        report.segments.len(),
        began.elapsed().as_secs_f64(),
    );
}

/// What the rounds met, for the last line.
#[derive(Debug, Default)]
struct Seen {
    lost: Vec<String>,
    torn: u64,
    truncated: u64,
    rebuilt: u64,
    replayed: u64,
    damaged: u64,
    killed_starting: u64,
    compared: u64,
}

impl Seen {
    fn opening(&mut self, ready: &serde_json::Value) {
        self.truncated += u64::from(!ready["truncated"].is_null());
        self.rebuilt += u64::from(!ready["rebuilt"].is_null());
        self.replayed += ready["replayed"].as_u64().unwrap();
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            torn,
            truncated,
            rebuilt,
            replayed,
            damaged,
            killed_starting,
            compared,
            ..
        } = self;
        write!(
            f,
            "{torn} torn tails ({truncated} cut by the node), {damaged} indexes damaged or deleted, {rebuilt} rebuilt, \
            {replayed} events replayed, {killed_starting} kills while starting, {compared} people compared"
        )
    }
}

/// Kills a node that may not serve yet.
async fn kill_while_starting(member: &Member, after_ms: u64) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_songhe"))
        .args(["serve", "--until-stdin-ends", "--data-dir"])
        .arg(member.home.folder())
        .env("SONGHE_PASSPHRASE", PASSPHRASE)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    tokio::time::sleep(Duration::from_millis(after_ms)).await;
    child.kill().await.unwrap();
}

/// Sometimes deletes the index, cuts one of its files or turns bits over. Returns whether its files are broken now.
fn damage_index(member: &Member, dice: &mut Dice, seen: &mut Seen) -> bool {
    let folder = member.home.path("index");
    let kind = dice.below(100);
    if kind >= 45 || !folder.is_dir() {
        return false;
    }
    seen.damaged += 1;
    if kind < 15 {
        std::fs::remove_dir_all(&folder).unwrap();
        return false;
    }
    let files: Vec<_> = files_below(&folder)
        .into_iter()
        .filter(|f| f.metadata().is_ok_and(|m| m.len() > 0))
        .collect();
    if files.is_empty() {
        return false;
    }
    let file = dice.pick(&files);
    let len = file.metadata().unwrap().len();
    if kind < 28 {
        std::fs::File::options()
            .write(true)
            .open(file)
            .unwrap()
            .set_len(dice.below(len))
            .unwrap();
    } else {
        for _ in 0..=dice.below(4) {
            flip(file, dice.below(len));
        }
    }
    true
}

/// What was acknowledged before is unchanged when it comes again.
async fn put_again(member: &Member, shared: &Shared, dice: &mut Dice, told: &str) {
    let (keys, items): (Vec<_>, Vec<_>) = {
        let model = shared.model();
        let versions = model.acked_versions();
        if versions.is_empty() {
            return;
        }
        let chosen: Vec<_> = (0..20).map(|_| dice.pick(&versions).clone()).collect();
        chosen
            .into_iter()
            .map(|key| {
                let version = &model.records[&key];
                let sent = item(version.bytes.clone(), &resident(version.person));
                ((key, version.acked.as_ref().unwrap().seq), sent)
            })
            .unzip()
    };
    let results = put(member, items, v1::PutFormat::Resource).await.unwrap();
    for ((key, seq), result) in keys.into_iter().zip(results) {
        let unchanged = i32::from(v1::PutOutcome::Unchanged);
        let at = result.leaf.map(|l| l.seq);
        assert_eq!(
            (result.outcome, at),
            (unchanged, Some(seq)),
            "{told}: {key:?} {:?}",
            result.reason
        );
    }
}

/// The round's people, and some of those before.
fn some(all: &[u32], before: &[u32], dice: &mut Dice) -> Vec<u32> {
    let mut people: Vec<u32> = all
        .iter()
        .filter(|p| before.binary_search(p).is_err())
        .copied()
        .collect();
    if !before.is_empty() {
        people.extend((0..LOOKED_AT).map(|_| *dice.pick(before)));
    }
    people.sort_unstable();
    people.dedup();
    people
}

fn settle_erasures(model: &mut crate::model::Model, keys: &Keys, ledger: &ledger::Ledger) {
    use crate::model::Standing;
    let open: Vec<u32> = model
        .erased
        .iter()
        .filter(|(_, s)| **s == Standing::Sent)
        .map(|(p, _)| *p)
        .collect();
    for person in open {
        if ledger.knows(&keys.pseudonym(&resident(person))).unwrap() {
            model.erased.remove(&person);
        } else {
            model.erased.insert(person, Standing::Acked);
        }
    }
}

/// An index built from nothing has the same rows as the one that was carried through all kills.
fn rebuilt_is_equal(member: &Member, keys: &Keys) {
    let (ledger, _) = keys.ledger().unwrap();
    drop(ledger);
    let carried = index_rows(&member.home);
    std::fs::remove_dir_all(member.home.path("index")).unwrap();
    let (ledger, opening) = keys.ledger().unwrap();
    assert!(opening.rebuilt.is_some());
    drop(ledger);
    let rebuilt = index_rows(&member.home);
    assert!(
        !rebuilt.is_empty() && carried.len() == rebuilt.len(),
        "{} rows, rebuilt {}",
        carried.len(),
        rebuilt.len()
    );
    for (a, b) in carried.iter().zip(&rebuilt) {
        assert_eq!(a, b, "a row of table {} differs", a.0);
    }
}

/// The comparison finds a record, a consent and a withdrawal that are not there.
async fn the_comparison_would_tell(shared: &Shared, keys: &Keys) {
    use crate::model::{Given, Model, Standing, Version};
    let leaf = Some(v1::LeafRef::default());
    let person = {
        let model = shared.model();
        model
            .acked_versions()
            .first()
            .map_or(0, |key| model.records[key].person)
    };
    let bytes = crate::people::heart_rate("never-sent", 1, 1);
    let mut made_up = Model::default();
    made_up.records.insert(
        ("never-sent".into(), 1),
        Version {
            person,
            bytes,
            acked: leaf,
        },
    );
    made_up.consents.insert(
        vec![7; 16],
        Given {
            person,
            seq: 0,
            withdrawn: Standing::Acked,
        },
    );
    let (ledger, _) = keys.ledger().unwrap();
    let told = made_up.compare(keys, &ledger, &[person]).await;
    assert!(
        told.iter().any(|t| t.contains("never-sent")) && told.iter().any(|t| t.contains("is gone")),
        "{told:?}"
    );
}
