//! Tests of directories, drafts, cards and the roster.

use std::sync::Arc;

use record::{MemberId, Timestamp};
use tlog::note::{NoteError, Signer};

use crate::directory::{MAX_DIRECTORY_BYTES, MAX_MEMBERS, check_members};
use crate::draft::DraftError;
use crate::fixture::{
    DAY_MS, NOW, Party, authority, directory_of, draft_of, federation, key_bytes, party, rng,
    sign_text, text_of,
};
use crate::roster::AdoptError;
use crate::{
    Adopted, AuthorityKey, Directory, DirectoryError, Draft, FederationName, Roster,
    SignedDirectory,
};

fn read(bytes: &[u8]) -> Result<SignedDirectory, DirectoryError> {
    Directory::parse_verified(bytes, authority().verifier_key(), NOW)
}

fn read_text(text: &str) -> Result<SignedDirectory, DirectoryError> {
    read(&sign_text(text))
}

#[test]
fn a_directory_goes_both_ways() {
    let (a, b) = (party(1), party(2));
    let signed = directory_of(&[&b, &a]);
    let again = read(signed.bytes()).unwrap();
    assert_eq!(again.bytes(), signed.bytes());
    assert_eq!(again.directory(), signed.directory());
    let directory = again.directory();
    assert_eq!((directory.version(), directory.issued()), (1, NOW));
    assert_eq!(directory.expires(), NOW.plus_ms(30 * DAY_MS));
    assert_eq!(**directory.find(a.id()).unwrap(), a.member);
    assert_eq!(**directory.find(b.id()).unwrap(), b.member);
    assert!(
        directory
            .find(&MemberId::parse("nobody").unwrap())
            .is_none()
    );
    assert!(text_of(&signed).starts_with(
        "songhe-directory/v1\nfederation city.example\nversion 1\nissued 2026-11-22T00:00:00Z\nexpires 2026-12-22T00:00:00Z\nmember {\"id\":\"member-00001\""
    ));
    let empty = draft_of(&[]).sign(&authority(), NOW, 1).unwrap();
    assert!(
        read(empty.bytes())
            .unwrap()
            .directory()
            .members()
            .is_empty()
    );
}

#[test]
fn every_tampered_byte_is_refused() {
    let signed = directory_of(&[&party(1), &party(2)]);
    let key = authority();
    for at in 0..signed.bytes().len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut bytes = signed.bytes().to_vec();
            bytes[at] ^= flip;
            assert!(
                Directory::parse_verified(&bytes, key.verifier_key(), NOW).is_err(),
                "byte {at} ^ {flip:#x}"
            );
        }
    }
    for end in 0..signed.bytes().len() {
        assert!(
            Directory::parse_verified(&signed.bytes()[..end], key.verifier_key(), NOW).is_err(),
            "cut at {end}"
        );
    }
}

#[test]
fn other_authorities_are_refused() {
    let signed = directory_of(&[&party(1)]);
    let same_name = AuthorityKey::generate(federation(), &rng()).unwrap();
    assert_eq!(
        Directory::parse_verified(signed.bytes(), same_name.verifier_key(), NOW).unwrap_err(),
        DirectoryError::Note(NoteError::NoKnownSigner)
    );
    // The right key bytes under another name: the text's federation is not the key's.
    let renamed = Signer::from_seed("town.example", &[42; 32]).unwrap();
    let note = tlog::note::Note::sign(&text_of(&signed), &[&renamed])
        .unwrap()
        .to_bytes();
    assert_eq!(
        Directory::parse_verified(&note, renamed.verifier(), NOW).unwrap_err(),
        DirectoryError::AuthorityName
    );
}

#[test]
fn lines_of_other_signers_are_dropped_and_are_no_equivocation() {
    let signed = directory_of(&[&party(1)]);
    let stranger = Signer::from_seed("stranger.example", &[1; 32]).unwrap();
    let mut note = tlog::note::Note::parse(signed.bytes()).unwrap();
    note.add_signature(&stranger).unwrap();
    let with_junk = read(&note.to_bytes()).unwrap();
    assert_ne!(note.to_bytes(), signed.bytes());
    assert_eq!(with_junk.bytes(), signed.bytes());
    assert_eq!(with_junk.supersedes(&signed), Ok(false));
}

#[test]
fn dates_are_checked() {
    let signed = directory_of(&[&party(1)]);
    let key = authority();
    let at = |now: Timestamp| Directory::parse_verified(signed.bytes(), key.verifier_key(), now);
    let expires = signed.directory().expires();
    assert!(
        !at(expires.plus_ms(-1))
            .unwrap()
            .directory()
            .is_expired(expires.plus_ms(-1))
    );
    assert!(at(expires).unwrap().directory().is_expired(expires));
    assert!(at(NOW.plus_ms(-300_000)).is_ok());
    assert_eq!(
        at(NOW.plus_ms(-300_001)).unwrap_err(),
        DirectoryError::IssuedInFuture
    );
    for days in [0, 401, u16::MAX] {
        let mut draft = draft_of(&[]);
        let fault = draft.sign(&authority(), NOW, days).unwrap_err();
        assert_eq!(fault, DraftError::Directory(DirectoryError::Lifetime));
        assert_eq!(draft.signed_version(), 0);
    }
    assert!(draft_of(&[]).sign(&authority(), NOW, 400).is_ok());
}

#[test]
fn texts_with_another_spelling_are_refused_even_when_signed() {
    let text = text_of(&directory_of(&[&party(1), &party(2)]));
    assert!(read_text(&text).is_ok());
    let lines: Vec<&str> = text.lines().collect();
    let swapped = format!("{}\n{}\n{}\n", lines[..5].join("\n"), lines[6], lines[5]);
    let doubled = format!("{}{}\n", text, lines[6]);
    for (what, changed) in [
        ("format", text.replacen("/v1", "/v2", 1)),
        ("longer format", text.replacen("/v1", "/v10", 1)),
        (
            "other federation",
            text.replacen("city.example\n", "town.example\n", 1),
        ),
        (
            "bad federation",
            text.replacen("city.example\n", "City.example\n", 1),
        ),
        ("version 0", text.replacen("version 1", "version 0", 1)),
        ("version 01", text.replacen("version 1", "version 01", 1)),
        ("version +1", text.replacen("version 1", "version +1", 1)),
        (
            "version too large",
            text.replacen("version 1", "version 18446744073709551616", 1),
        ),
        (
            "local time",
            text.replacen(
                "issued 2026-11-22T00:00:00Z",
                "issued 2026-11-22T08:00:00+08:00",
                1,
            ),
        ),
        (
            "fraction",
            text.replacen(
                "issued 2026-11-22T00:00:00Z",
                "issued 2026-11-22T00:00:00.5Z",
                1,
            ),
        ),
        (
            "no date",
            text.replacen("issued 2026-11-22T00:00:00Z", "issued today", 1),
        ),
        (
            "expires first",
            text.replacen("expires 2026-12-22", "expires 2026-11-21", 1),
        ),
        (
            "lives too long",
            text.replacen("expires 2026-12-22", "expires 2028-12-22", 1),
        ),
        ("space", text.replacen("\"name\":", "\"name\": ", 1)),
        ("escape", text.replacen("松", "\\u677e", 1)),
        (
            "unknown key",
            text.replacen("{\"id\"", "{\"x\":1,\"id\"", 1),
        ),
        (
            "repeated key",
            text.replacen("{\"id\":", "{\"id\":\"member-00001\",\"id\":", 1),
        ),
        (
            "key order",
            text.replacen("\"status\":\"active\",", "", 1).replacen(
                "{\"id\"",
                "{\"status\":\"active\",\"id\"",
                1,
            ),
        ),
        (
            "missing key",
            text.replacen("\"status\":\"active\",", "", 1),
        ),
        (
            "null for absent",
            text.replacen("\"}\n", "\",\"min_protocol\":null}\n", 1),
        ),
        ("status", text.replacen("\"active\"", "\"Active\"", 1)),
        ("kind", text.replacen("\"hospital\"", "\"bank\"", 1)),
        ("district", text.replacen("\"500112\"", "\"990112\"", 1)),
        ("stray line", format!("{text}stray\n")),
        ("empty line", format!("{text}\nmember x\n")),
        ("order", swapped),
        ("twice", doubled),
        ("headers only in part", lines[..4].join("\n") + "\n"),
    ] {
        assert_ne!(changed, text, "{what}");
        assert!(read_text(&changed).is_err(), "{what}");
    }
    let part = read_text(&(lines[..2].join("\n") + "\n")).unwrap_err();
    assert_eq!(
        part,
        DirectoryError::Malformed {
            line: 3,
            expected: "version <number>"
        }
    );
}

#[test]
fn hostile_sizes_are_refused() {
    let text = text_of(&directory_of(&[&party(1)]));
    let huge = vec![b'a'; MAX_DIRECTORY_BYTES + 1];
    assert!(matches!(
        read(&huge),
        Err(DirectoryError::Note(NoteError::TooLarge { .. }))
    ));
    let mut many = sign_text(&text);
    for number in 0..16 {
        let other =
            Signer::from_seed(&format!("s{number}.example"), &key_bytes(number, 7)).unwrap();
        many.extend_from_slice(
            format!("{}\n", tlog::note::Signature::by(&other, &text).to_line()).as_bytes(),
        );
    }
    assert!(matches!(
        read(&many),
        Err(DirectoryError::Note(NoteError::TooManySignatures { .. }))
    ));
    let one = Arc::new(party(1).member);
    let crowd = vec![one; MAX_MEMBERS + 1];
    assert_eq!(check_members(&crowd), Err(DirectoryError::TooManyMembers));
    let empty_lines = format!("{text}{}", "member {}\n".repeat(MAX_MEMBERS * 2));
    assert!(matches!(
        read_text(&empty_lines),
        Err(DirectoryError::Member { line: 7, .. })
    ));
    let deep = text.replacen("{\"id\"", &format!("{}\"id\"", "[".repeat(8000)), 1);
    assert!(read_text(&deep).is_err());
}

#[test]
fn versions_only_rise() {
    let (a, b) = (party(1), party(2));
    let mut draft = draft_of(&[&a]);
    let first = draft.sign(&authority(), NOW, 30).unwrap();
    let mut other_history = draft_of(&[&b]);
    let rival = other_history.sign(&authority(), NOW, 30).unwrap();
    draft.suspend(a.id()).unwrap();
    let second = draft.sign(&authority(), NOW, 30).unwrap();
    assert_eq!(second.directory().version(), 2);
    assert!(!second.directory().find(a.id()).unwrap().is_active());

    assert_eq!(second.supersedes(&first), Ok(true));
    assert_eq!(first.supersedes(&first), Ok(false));
    assert_eq!(
        first.supersedes(&second),
        Err(DirectoryError::Rollback {
            held: 2,
            offered: 1
        })
    );
    assert_eq!(
        rival.supersedes(&first),
        Err(DirectoryError::Equivocation { version: 1 })
    );

    let town = FederationName::parse("town.example").unwrap();
    let town_key = AuthorityKey::generate(town.clone(), &rng()).unwrap();
    let foreign = Draft::new(town).sign(&town_key, NOW, 30).unwrap();
    assert_eq!(
        foreign.supersedes(&first),
        Err(DirectoryError::OtherFederation)
    );

    let key = authority();
    let roster = Roster::open(key.verifier_key().clone(), first.bytes(), NOW).unwrap();
    let refused = |bytes: &[u8]| match roster.adopt(bytes, NOW).unwrap_err() {
        AdoptError::Directory(fault) => fault,
        other @ AdoptError::Ca(_) => panic!("{other}"),
    };
    assert_eq!(
        roster.adopt(first.bytes(), NOW).map(|a| a.is_new()),
        Ok(false)
    );
    assert_eq!(
        refused(rival.bytes()),
        DirectoryError::Equivocation { version: 1 }
    );
    assert_eq!(
        refused(foreign.bytes()),
        DirectoryError::Note(NoteError::NoKnownSigner)
    );
    let before = roster.view();
    assert_eq!(
        roster.adopt(second.bytes(), NOW),
        Ok(Adopted {
            old_version: 1,
            new_version: 2
        })
    );
    assert_eq!(
        (roster.version(), before.directory().directory().version()),
        (2, 1)
    );
    assert_eq!(
        refused(first.bytes()),
        DirectoryError::Rollback {
            held: 2,
            offered: 1
        }
    );
    assert_eq!(roster.directory().bytes(), second.bytes());
    assert!(!roster.find(a.id()).unwrap().is_active());
    assert_eq!(roster.age_ms(NOW.plus_ms(5)), 5);
}

#[test]
fn of_many_directories_adopted_at_once_the_newest_stays() {
    let mut draft = draft_of(&[&party(1)]);
    let all: Vec<SignedDirectory> = (0..24)
        .map(|_| draft.sign(&authority(), NOW, 30).unwrap())
        .collect();
    let roster = Roster::open(authority().verifier_key().clone(), all[0].bytes(), NOW).unwrap();
    std::thread::scope(|scope| {
        for start in 0..4 {
            let (roster, all) = (&roster, &all);
            scope.spawn(move || {
                let mut seen = 0;
                for signed in all.iter().skip(start).step_by(4) {
                    // Another thread may have been faster; then this one is a rollback, and that is right.
                    let adopted = roster.adopt(signed.bytes(), NOW);
                    assert!(matches!(
                        adopted,
                        Ok(_) | Err(AdoptError::Directory(DirectoryError::Rollback { .. }))
                    ));
                    let version = roster.version();
                    assert!(version >= seen && version >= signed.directory().version());
                    seen = version;
                }
            });
        }
    });
    assert_eq!(roster.version(), 24);
}

#[test]
fn a_large_directory_is_read_in_reasonable_time() {
    let parties: Vec<Party> = (0..500).map(party).collect();
    let signed = draft_from(&parties).sign(&authority(), NOW, 30).unwrap();
    let start = std::time::Instant::now();
    let read = read(signed.bytes()).unwrap();
    let parsed = start.elapsed();
    let verifiers = crate::Verifiers::new(read).unwrap();
    let built = start.elapsed();
    eprintln!(
        "500 members: {} bytes, read in {parsed:?}, verifiers built by {built:?}",
        signed.bytes().len()
    );
    assert_eq!(verifiers.directory().directory().members().len(), 500);
    assert!(
        built.as_secs() < 20,
        "a node must not stand still over a directory: {built:?}"
    );
}

/// A draft of many members at once: adding them one by one checks the whole each time.
fn draft_from(parties: &[Party]) -> Draft {
    let json = draft_of(&[]).to_json().unwrap();
    let members: Vec<String> = parties
        .iter()
        .map(|p| p.member.to_json().unwrap())
        .collect();
    Draft::parse(&json.replacen("[]", &format!("[{}]", members.join(",")), 1)).unwrap()
}
