//! A full disk: writing is refused, nothing acknowledged is missing, reading goes on and is recorded, writing comes back.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wire::v1;

use crate::kill::small_city;
use crate::people::{heart_rate, resident};
use crate::stopped::{Keys, fsck};
use crate::support::{Federation, Member, fetch, item, permit, put, subject};

/// Room for the journal's first segments, the index with its reserve, and some more.
const DISK: &str = "size=48m,mode=0700";
/// Characters of a large record's note.
const LARGE: usize = 300_000;
/// And of a small one's.
const SMALL: usize = 100;
/// How soon writing must be back.
const BACK: Duration = Duration::from_secs(10);

/// A small disk of its own below a node's folder; gone when dropped.
struct Disk(PathBuf);

impl Disk {
    /// Moves a stopped node's folder onto a small disk. `None` without the right to mount.
    fn below(folder: &Path) -> Option<Self> {
        let aside = folder.with_extension("aside");
        std::fs::rename(folder, &aside).unwrap();
        std::fs::create_dir(folder).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", DISK, "tmpfs"])
            .arg(folder)
            .stderr(Stdio::null())
            .status();
        if !mounted.is_ok_and(|s| s.success()) {
            return None;
        }
        let disk = Self(folder.to_owned());
        let copied = Command::new("cp")
            .arg("-a")
            .arg(aside.join("."))
            .arg(folder)
            .status()
            .unwrap();
        assert!(copied.success());
        Some(disk)
    }

    /// Fills what is left.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("ballast");
        let mut file = std::fs::File::create(&path).unwrap();
        for size in [64 << 10, 4 << 10, 1] {
            let block = vec![1; size];
            while file.write_all(&block).is_ok() {}
        }
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let gone = Command::new("umount").arg("-l").arg(&self.0).status();
        if !gone.is_ok_and(|s| s.success()) {
            eprintln!("{} could not be unmounted", self.0.display());
        }
    }
}

async fn store(member: &Member, person: u32, note: usize) -> Result<u64, String> {
    let record = item(
        heart_rate(&format!("r{person}"), 1, note),
        &resident(person),
    );
    match put(member, vec![record], v1::PutFormat::Resource).await {
        Ok(results) => match &results[0].leaf {
            Some(leaf) if results[0].outcome == i32::from(v1::PutOutcome::Stored) => Ok(leaf.seq),
            _ => Err(results[0]
                .reason
                .as_ref()
                .map_or_else(String::new, |r| r.code.clone())),
        },
        Err(status) => Err(crate::support::reason(&status)),
    }
}

async fn state(member: &Member) -> (String, Vec<String>) {
    let status = member
        .client("operator")
        .status(v1::StatusRequest {})
        .await
        .unwrap()
        .into_inner();
    (
        status.state,
        status.reasons.into_iter().map(|r| r.code).collect(),
    )
}

/// Puts large records until the node refuses, then smaller ones until nothing fits; those that were acknowledged.
async fn put_until_full(member: &Member, from: u32) -> Vec<(u32, usize)> {
    let mut stored = put_until_refused(member, from, LARGE).await;
    stored.extend(put_until_refused(member, from + 200, LARGE / 10).await);
    stored.extend(put_until_refused(member, from + 400, SMALL).await);
    stored
}

async fn put_until_refused(member: &Member, from: u32, note: usize) -> Vec<(u32, usize)> {
    let mut stored = Vec::new();
    for person in from..from + 200 {
        match store(member, person, note).await {
            Ok(_) => stored.push((person, note)),
            Err(reason) => {
                assert_eq!(reason, "STORAGE_FULL");
                return stored;
            }
        }
    }
    panic!("the disk never became full");
}

async fn read_ok(city: &Federation, person: u32, note: usize) {
    let hospital = city.member("hospital-1");
    let got = fetch(
        hospital,
        "doctor",
        "community-1",
        &resident(person),
        &["vitals"],
        "TREAT",
    )
    .await
    .unwrap();
    assert_eq!(
        (got.outcome.as_str(), got.records.len()),
        ("data", 1),
        "{}",
        got.reason
    );
    assert_eq!(
        got.records[0].fhir_json[..],
        heart_rate(&format!("r{person}"), 1, note)[..]
    );
}

/// The next event's number.
async fn events(member: &Member) -> u64 {
    member
        .client("operator")
        .status(v1::StatusRequest {})
        .await
        .unwrap()
        .into_inner()
        .events
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_writing_alone_and_writing_comes_back_by_itself() {
    let mut city = small_city();
    let Some(disk) = Disk::below(city.member("community-1").home.folder()) else {
        eprintln!("SKIPPED: a full disk: no right to mount a tmpfs");
        return;
    };
    let keys = Keys::of(&city.member("community-1").home);
    city.start_all().await;
    let member = city.member("community-1");
    store(member, 1, SMALL).await.unwrap();
    store(member, 2, SMALL).await.unwrap();
    let _kept = permit(member, &resident(2), "hospital-1", "TREAT", 4).await;
    let consent = permit(member, &resident(1), "hospital-1", "TREAT", 4).await;
    read_ok(&city, 1, SMALL).await;
    let ballast = disk.fill();

    let mut stored = put_until_full(member, 10).await;
    assert_eq!(
        state(member).await,
        ("read-only".to_owned(), vec!["STORAGE_FULL".to_owned()])
    );
    read_ok(&city, 1, SMALL).await;
    let before = events(member).await;
    let hospital = city.member("hospital-1");
    let refused = fetch(
        hospital,
        "doctor",
        "community-1",
        &resident(10),
        &["vitals"],
        "TREAT",
    )
    .await
    .unwrap();
    assert_eq!(
        (refused.outcome.as_str(), refused.reason.as_str()),
        ("refused", "CONSENT_MISSING")
    );
    assert!(
        events(member).await > before,
        "a refusal has its leaf on a full disk too"
    );
    let withdraw = v1::WithdrawConsentRequest {
        subject: Some(subject(&resident(1))),
        consent_id: consent,
    };
    let _leaf = member
        .client("counter")
        .withdraw_consent(withdraw)
        .await
        .unwrap();
    let after = fetch(
        hospital,
        "doctor",
        "community-1",
        &resident(1),
        &["vitals"],
        "TREAT",
    )
    .await
    .unwrap();
    assert_eq!(after.reason, "CONSENT_MISSING");

    // Killed and started on the full disk.
    city.member_mut("community-1").kill().await;
    city.member_mut("community-1").start().await;
    let member = city.member("community-1");
    read_ok(&city, 2, SMALL).await;
    stored.extend(put_until_full(member, 4_000).await);
    read_ok(&city, 2, SMALL).await;

    std::fs::remove_file(&ballast).unwrap();
    let room = Instant::now();
    while let Err(reason) = store(member, 1_002, SMALL).await {
        assert!(
            reason == "STORAGE_FULL" && room.elapsed() < BACK,
            "{reason} {:?} after there was room",
            room.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let back = room.elapsed();
    assert_eq!(state(member).await, ("serving".to_owned(), Vec::new()));

    // Full a second time, by the journal's own growth.
    let more = put_until_full(member, 2_000).await;
    assert!(!more.is_empty());
    stored.extend(more);
    city.stop_all().await;

    let home = &city.member("community-1").home;
    assert!(fsck(home).is_clean());
    let (ledger, _) = keys.ledger().unwrap();
    let code = record::RecordTypeCode::parse("vitals").unwrap();
    for (person, note) in stored
        .iter()
        .chain(&[(1, SMALL), (2, SMALL), (1_002, SMALL)])
    {
        let subject = keys.pseudonym(&resident(*person));
        let page = ledger
            .find(&subject, &code, &ledger::Query::all(), None, 10)
            .unwrap();
        assert_eq!(page.found.len(), 1, "person {person}");
        let record = ledger.open_record(&subject, &page.found[0]).unwrap();
        assert_eq!(
            *record.original,
            heart_rate(&format!("r{person}"), 1, *note)
        );
    }
    eprintln!(
        "full disk: {} records acknowledged, lost 0; writing back after {} ms",
        stored.len(),
        back.as_millis()
    );
}
