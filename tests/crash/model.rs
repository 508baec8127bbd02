//! What was sent to a node and what it acknowledged, and the comparison with what a stopped node holds.

use std::collections::BTreeMap;

use ledger::{ConsentState, Ledger, Query};
use record::{ExchangeId, RecordTypeCode};
use wire::v1;

use crate::people::resident;
use crate::stopped::Keys;

/// How far something that was sent has come, as its sender knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Standing {
    /// Not asked for.
    #[default]
    No,
    /// Sent; nobody knows.
    Sent,
    /// Acknowledged.
    Acked,
}

/// A version of a record that was sent.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) person: u32,
    pub(crate) bytes: Vec<u8>,
    pub(crate) acked: Option<v1::LeafRef>,
}

/// A consent that was acknowledged.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) person: u32,
    pub(crate) seq: u64,
    pub(crate) withdrawn: Standing,
}

/// Everything that was sent.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// By id and version.
    pub(crate) records: BTreeMap<(String, u32), Version>,
    /// By id; a consent whose answer never came has none that the sender knows.
    pub(crate) consents: BTreeMap<Vec<u8>, Given>,
    /// Whose data was to be erased.
    pub(crate) erased: BTreeMap<u32, Standing>,
    /// Events whose acknowledgement arrived.
    pub(crate) acked: u64,
}

/// What a comparison found missing or wrong; empty when nothing is.
pub(crate) type Lost = Vec<String>;

impl Model {
    pub(crate) fn is_gone(&self, person: u32) -> bool {
        self.erased.contains_key(&person)
    }

    /// Whether an erasure was cut off.
    pub(crate) fn erasing(&self) -> bool {
        self.erased.values().any(|s| *s == Standing::Sent)
    }

    /// People of whom anything was sent.
    pub(crate) fn people(&self) -> Vec<u32> {
        let mut people: Vec<u32> = self.records.values().map(|v| v.person).collect();
        people.extend(self.consents.values().map(|c| c.person));
        people.sort_unstable();
        people.dedup();
        people
    }

    /// Acknowledged versions of people whose data is not to be erased.
    pub(crate) fn acked_versions(&self) -> Vec<(String, u32)> {
        let held = |v: &&Version| v.acked.is_some() && !self.is_gone(v.person);
        self.records
            .iter()
            .filter(|(_, v)| held(v))
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// Compares some people's records and consents with what the node holds.
    pub(crate) async fn compare(&self, keys: &Keys, ledger: &Ledger, people: &[u32]) -> Lost {
        let mut lost = Lost::new();
        let mut of: BTreeMap<u32, Vec<&(String, u32)>> = BTreeMap::new();
        for (key, version) in &self.records {
            of.entry(version.person).or_default().push(key);
        }
        for person in people {
            let subject = keys.pseudonym(&resident(*person));
            let known = ledger.knows(&subject).unwrap();
            match self.erased.get(person) {
                Some(Standing::Acked) if known => {
                    lost.push(format!("person {person} was erased and is known again"));
                }
                Some(Standing::Acked) => continue,
                Some(_) if !known => continue,
                Some(_) | None => {}
            }
            let sent = of.get(person).map_or(&[][..], Vec::as_slice);
            self.compare_records(ledger, *person, &subject, sent, &mut lost);
            self.compare_consents(ledger, *person, subject, &mut lost)
                .await;
        }
        lost
    }

    fn compare_records(
        &self,
        ledger: &Ledger,
        person: u32,
        subject: &record::Pseudonym,
        sent: &[&(String, u32)],
        lost: &mut Lost,
    ) {
        let code = RecordTypeCode::parse("vitals").unwrap();
        let newest_only = ledger
            .find(subject, &code, &Query::all(), None, 10_000)
            .unwrap();
        let all = ledger
            .find(
                subject,
                &code,
                &Query {
                    history: true,
                    ..Query::all()
                },
                None,
                10_000,
            )
            .unwrap();
        let mut found = BTreeMap::new();
        let mut newest: BTreeMap<String, u64> = BTreeMap::new();
        for place in &all.found {
            let record = ledger.open_record(subject, place).unwrap();
            let key = (
                record.header.id.clone(),
                record.header.version.parse::<u32>().unwrap(),
            );
            match self.records.get(&key) {
                Some(v) if v.person == person && v.bytes == *record.original => {}
                _ => lost.push(format!("{key:?} of person {person} is not what was sent")),
            }
            let last = newest.entry(record.header.id.clone()).or_default();
            *last = record.seq.max(*last);
            found.insert(key, record.seq);
        }
        for key in sent {
            let Some(leaf) = &self.records[*key].acked else {
                continue;
            };
            if found.get(*key) != Some(&leaf.seq) {
                lost.push(format!(
                    "{key:?}, event {} is at {:?}",
                    leaf.seq,
                    found.get(*key)
                ));
            }
            // A version that was there before has no exchange id in its answer.
            if let Ok(xid) = ExchangeId::from_slice(&leaf.exchange_id) {
                let text = String::from_utf8(ledger.leaf(leaf.seq).unwrap()).unwrap();
                if !text.contains(&xid.to_hex()) {
                    lost.push(format!("event {} has another leaf: {text}", leaf.seq));
                }
            }
        }
        let mut expected: Vec<u64> = newest.into_values().collect();
        let mut listed: Vec<u64> = newest_only.found.iter().map(|f| f.position.seq).collect();
        expected.sort_unstable();
        listed.sort_unstable();
        if expected != listed {
            lost.push(format!(
                "newest versions of person {person}: {listed:?} instead of {expected:?}"
            ));
        }
    }

    async fn compare_consents(
        &self,
        ledger: &Ledger,
        person: u32,
        subject: record::Pseudonym,
        lost: &mut Lost,
    ) {
        let view = ledger.consents(subject).await.unwrap();
        for (id, given) in self.consents.iter().filter(|(_, c)| c.person == person) {
            let Some(entry) = view
                .entries
                .iter()
                .find(|e| e.consent.id.as_bytes() == id.as_slice())
            else {
                lost.push(format!("consent of event {} is gone", given.seq));
                continue;
            };
            match (given.withdrawn, entry.state) {
                (Standing::Acked, ConsentState::Given) => {
                    lost.push(format!(
                        "the withdrawal of consent of event {} is lost",
                        given.seq
                    ));
                }
                (Standing::No, ConsentState::Withdrawn) => {
                    lost.push(format!(
                        "consent of event {} is withdrawn, nobody asked for it",
                        given.seq
                    ));
                }
                _ => {}
            }
        }
    }
}
