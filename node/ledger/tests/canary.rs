//! Nothing that names a person or a source, and no content, is in any file of the folder.

use zeroize::Zeroizing;

use super::quarantine::broken;
use super::support::*;
use crate::{Access, AccessDetail};

#[tokio::test(flavor = "multi_thread")]
async fn no_file_tells_anything() {
    let home = Home::new();
    let ledger = home.open();
    let subjects: Vec<_> = (0..30).map(person).collect();
    for (n, subject) in subjects.iter().enumerate() {
        let mut new = record(
            *subject,
            &format!("CANARY-ID-{n}"),
            "CANARY-VERSION",
            "CANARY-CONTENT",
        );
        new.header.source = "CANARY-SOURCE".into();
        let patient = crate::NewRecord {
            header: crate::RecordHeader {
                resource_type: "Patient".into(),
                ..new.header.clone()
            },
            subject: *subject,
            original: Zeroizing::new(b"CANARY-CONTENT of a patient".to_vec()),
        };
        assert!(
            ledger
                .put(vec![new, patient])
                .await
                .unwrap()
                .iter()
                .all(Result::is_ok)
        );
        let mut given = consent(n as u128);
        given.recipients = vec![record::MemberId::parse("canary-member").unwrap()];
        ledger.register_consent(*subject, given).await.unwrap();
        let entry = broken(
            "CANARY-SOURCE",
            "CANARY-ID",
            (n % 2 == 0).then_some(*subject),
            "CANARY-CONTENT broken",
        );
        ledger.quarantine(entry).await.unwrap();
        let detail = AccessDetail(Zeroizing::new(b"CANARY-DETAIL".to_vec()));
        let known = (n % 3 > 0).then_some(*subject);
        ledger
            .record_access(Access {
                detail,
                ..access(&ledger, n as u128, known, None)
            })
            .await
            .unwrap();
    }
    ledger
        .erase_subject(subjects[3], "CLEAR-GROUND")
        .await
        .unwrap();
    ledger.rotate(keyring(1), |_, _| ()).await.unwrap();
    let keys: Vec<[u8; 32]> = vec![[2; 32], [3; 32], [4; 32]];
    ledger.close().await.unwrap();
    drop(ledger);
    let files = all_files(home.dir.path());
    assert!(files.iter().any(|(path, _)| path.ends_with("db")) && files.len() > 3);
    let mut clear = 0;
    for (path, bytes) in &files {
        let has = |needle: &[u8]| bytes.windows(needle.len()).any(|w| w == needle);
        assert!(!has(b"CANARY") && !has(b"canary"), "{}", path.display());
        for subject in &subjects {
            // Any eight bytes in a row, since an index may cut keys; and the text form.
            for part in subject.as_bytes().chunks(8) {
                assert!(!has(part), "a pseudonym is in {}", path.display());
                assert!(
                    !has(record::id::hex_encode(part).as_bytes()),
                    "a pseudonym is in {}",
                    path.display()
                );
            }
        }
        for key in &keys {
            assert!(!has(key), "a key is in {}", path.display());
        }
        clear += u32::from(has(b"CLEAR-GROUND"));
    }
    assert_eq!(clear, 1, "the search finds what is there");
}
