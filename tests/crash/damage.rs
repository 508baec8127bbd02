//! Damaged files: what is rotten is found, told with its place, and refused; nothing is skipped over and the rest is served.

use std::path::PathBuf;

use serde_json::{Value, json};
use wire::v1;

use crate::kill::small_city;
use crate::people::{heart_rate, resident};
use crate::stopped::{Keys, LogSince, flip, fsck_command, locate, segment, songhe};
use crate::support::{Federation, Member, fetch, item, permit, put, subject};

/// People with one large record each.
const PEOPLE: u32 = 24;

/// A node that holds several segments of records, stopped; and the event of each person's record.
async fn filled(city: &mut Federation) -> Vec<u64> {
    let member = city.member_mut("community-1");
    member.start().await;
    let mut seqs = Vec::new();
    for person in 0..PEOPLE {
        let record = item(
            heart_rate(&format!("r{person}"), 1, 150_000),
            &resident(person),
        );
        let results = put(member, vec![record], v1::PutFormat::Resource)
            .await
            .unwrap();
        assert_eq!(
            results[0].outcome,
            i32::from(v1::PutOutcome::Stored),
            "{:?}",
            results[0].reason
        );
        seqs.push(results[0].leaf.as_ref().unwrap().seq);
        let _id = permit(member, &resident(person), "hospital-1", "TREAT", 4).await;
    }
    member.stop().await;
    seqs
}

fn journal_file(member: &Member, id: u32) -> PathBuf {
    member.home.path("journal").join(segment(id))
}

/// Where the frame begins whose sealed parts lie at an offset.
fn frame_before(member: &Member, id: u32, offset: u64) -> u64 {
    let bytes = std::fs::read(journal_file(member, id)).unwrap();
    let end = usize::try_from(offset).unwrap();
    bytes[..end].windows(4).rposition(|w| w == b"SGFR").unwrap() as u64
}

/// The holder's reason when it refuses, and the event of the refusal.
async fn refusal(by: &Member, from: &str, number: &str) -> (String, u64) {
    let request = v1::FederatedFetchRequest {
        subject: Some(subject(number)),
        query: Some(v1::Query {
            record_types: vec!["vitals".into()],
            ..Default::default()
        }),
        intent: Some(v1::Intent {
            purpose: "TREAT".into(),
            basis: String::new(),
        }),
        member_ids: vec![from.to_owned()],
        deadline_ms: 30_000,
        cursor: Vec::new(),
    };
    let mut stream = by
        .client("doctor")
        .fetch(request)
        .await
        .unwrap()
        .into_inner();
    let mut last = v1::FederatedFetchResponse::default();
    while let Some(page) = stream.message().await.unwrap() {
        assert!(page.records.is_empty(), "a damaged record was served");
        last = page;
    }
    (last.reason.unwrap_or_default().code, last.leaf.unwrap().seq)
}

#[tokio::test(flavor = "multi_thread")]
async fn rot_of_one_record_is_told_with_its_place_and_the_others_are_served() {
    let mut city = small_city();
    let keys = Keys::of(&city.member("community-1").home);
    let seqs = filled(&mut city).await;
    let member = city.member("community-1");
    let [rotten, sound, row] = [2_u32, 3, 5];
    let seq = |person: u32| seqs[person as usize];
    let places = locate(
        &member.home,
        &[seq(rotten), seq(row), *seqs.last().unwrap()],
    );
    assert!(
        places[0].segment < places[2].segment,
        "the damage lies in an older segment"
    );
    let body = places[0].offset + u64::from(places[0].row_len) + u64::from(places[0].body_len) / 2;
    flip(&journal_file(member, places[0].segment), body);

    let found = |at: &journal::Location, kind: &str| {
        let (file, len) = (
            segment(at.segment),
            u64::from(at.row_len) + u64::from(at.body_len),
        );
        json!({"file": file, "offset": at.offset, "len": len, "seq": at.seq, "kind": kind})
    };
    let (code, report) = fsck_command(&member.home);
    assert_eq!(
        (code, &report["damage"]),
        (4, &json!([found(&places[0], "sealed part")]))
    );
    assert_eq!(report["would_start"], Value::Bool(true));

    // With the index it had and with one built from the damaged journal.
    for index_too in [false, true] {
        if index_too {
            std::fs::remove_dir_all(city.member("community-1").home.path("index")).unwrap();
        }
        city.start_all().await;
        let hospital = city.member("hospital-1");
        let log = LogSince::now(city.member("community-1").log_path());
        let (reason, seq) = refusal(hospital, "community-1", &resident(rotten)).await;
        assert_eq!(reason, "DATA_DAMAGED");
        let whole = fetch(
            hospital,
            "doctor",
            "community-1",
            &resident(sound),
            &["vitals"],
            "TREAT",
        )
        .await
        .unwrap();
        assert_eq!(
            (whole.outcome.as_str(), whole.records.len()),
            ("data", 1),
            "{}",
            whole.reason
        );
        assert_eq!(
            whole.records[0].fhir_json[..],
            heart_rate(&format!("r{sound}"), 1, 150_000)[..]
        );
        city.stop_all().await;
        // The place is for the holder's own people, not for who asked: in its log, and sealed in its trail.
        let place = format!(
            "{} at byte {}",
            segment(places[0].segment),
            places[0].offset
        );
        assert!(
            log.text().contains(&place),
            "the log names no {place}: {}",
            log.text()
        );
        let (ledger, _) = keys.ledger().unwrap();
        let detail = String::from_utf8(ledger.access_detail(seq).unwrap().to_vec()).unwrap();
        assert!(detail.contains(&place), "{detail} names no {place}");
    }

    // What the index needs is rotten: with the index the node starts, without it nothing is answered from half an index.
    let member = city.member("community-1");
    flip(
        &journal_file(member, places[1].segment),
        places[1].offset + 1,
    );
    let (code, report) = fsck_command(&member.home);
    let both = json!([
        found(&places[0], "sealed part"),
        found(&places[1], "sealed part")
    ]);
    assert_eq!((code, &report["damage"]), (4, &both));
    city.member_mut("community-1").start().await;
    city.member_mut("community-1").stop().await;
    let member = city.member("community-1");
    std::fs::remove_dir_all(member.home.path("index")).unwrap();
    let told = member.try_start(&[]).await.map(|p| p.ready).unwrap_err();
    assert!(
        told.contains(&format!("the row of event {} cannot be read", seq(row))),
        "{told}"
    );
    assert!(told.contains("songhe fsck"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_midst_of_the_journal_stops_the_start_with_file_and_byte() {
    let mut city = small_city();
    let seqs = filled(&mut city).await;
    let member = city.member_mut("community-1");
    let report = crate::stopped::fsck(&member.home);
    let shutdown = report.next_seq - 1;
    let places = locate(
        &member.home,
        &[seqs[0], seqs[PEOPLE as usize - 2], shutdown],
    );
    assert!(places[0].segment < places[1].segment && places[1].segment == places[2].segment);
    let last = places[1].segment;
    let frame = frame_before(member, last, places[1].offset);
    let end = frame_before(member, last, places[2].offset);
    assert!(frame < end);

    // Header, leaves and lengths of an older frame of the segment in use, and of the last frame, which the index knows.
    let cases = [
        (frame, 20, "frame header"),
        (frame, 130, "frame meta"),
        (end, 130, "frame meta"),
    ];
    for (at, into, kind) in cases {
        flip(&journal_file(member, last), at + into);
        let (code, report) = fsck_command(&member.home);
        let damage = &report["damage"][0];
        assert_eq!(
            (code, &damage["file"], &damage["offset"]),
            (4, &json!(segment(last)), &json!(at)),
            "{report}"
        );
        let told = member.try_start(&[]).await.map(|p| p.ready).unwrap_err();
        let place = format!("damaged {kind} in {} at byte {at}", segment(last));
        assert!(
            told.contains("refusing to start") && told.contains(&place),
            "{kind} at {at}: {told}"
        );
        flip(&journal_file(member, last), at + into);
    }

    // An older segment: nobody reads it at the start unless the index is built anew, but fsck does.
    let first = frame_before(member, places[0].segment, places[0].offset);
    flip(&journal_file(member, places[0].segment), first + 130);
    let (code, report) = fsck_command(&member.home);
    let damage = &report["damage"][0];
    let expected = (
        4,
        json!(segment(places[0].segment)),
        json!(first),
        json!("frame meta"),
    );
    assert_eq!(
        (
            code,
            damage["file"].clone(),
            damage["offset"].clone(),
            damage["kind"].clone()
        ),
        expected
    );
    std::fs::remove_dir_all(member.home.path("index")).unwrap();
    let told = member.try_start(&[]).await.map(|p| p.ready).unwrap_err();
    assert!(
        told.contains(&format!("{} at byte {first}", segment(places[0].segment))),
        "{told}"
    );
    flip(&journal_file(member, places[0].segment), first + 130);

    // Mended, it starts.
    member.start().await;
    member.stop().await;
    assert_eq!(fsck_command(&member.home).0, 0);
}

#[test]
fn damaged_keys_stop_the_start_and_name_the_file() {
    let city = small_city();
    let home = &city.member("community-1").home;
    let folder = home.folder().to_str().unwrap();
    for file in ["keys/kek.sealed", "keys/secrets.sealed"] {
        let sound = std::fs::read(home.path(file)).unwrap();
        let len = sound.len() as u64;
        let mut broken: Vec<(String, Option<Vec<u8>>)> = Vec::new();
        for at in [0, len / 3, len / 2, len - 1] {
            let mut bytes = sound.clone();
            bytes[usize::try_from(at).unwrap()] ^= 0x10;
            broken.push((format!("byte {at}"), Some(bytes)));
        }
        broken.push(("half of it".into(), Some(sound[..sound.len() / 2].to_vec())));
        broken.push(("empty".into(), Some(Vec::new())));
        broken.push(("missing".into(), None));
        for (how, bytes) in broken {
            match bytes {
                Some(bytes) => std::fs::write(home.path(file), bytes).unwrap(),
                None => std::fs::remove_file(home.path(file)).unwrap(),
            }
            let output = songhe(&["serve", "--until-stdin-ends", "--data-dir", folder]);
            let told = String::from_utf8_lossy(&output.stderr);
            eprintln!("{file}, {how}: {}", told.trim());
            assert_eq!(output.status.code(), Some(1), "{file}, {how}: {told}");
            assert!(
                told.contains(file) && !told.contains("panicked"),
                "{file}, {how}: {told}"
            );
            assert!(output.stdout.is_empty());
        }
        std::fs::write(home.path(file), &sound).unwrap();
    }
    let output = songhe(&["serve", "--until-stdin-ends", "--data-dir", folder]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
