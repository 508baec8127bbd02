//! Clients at work: each task puts records and versions, gives and withdraws consents, erases, and notes what was
//! acknowledged, until the node goes away.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use songhe::cli::client::Client;
use tokio::task::JoinSet;
use wire::v1;

use crate::model::{Given, Model, Standing, Version};
use crate::people::{Dice, heart_rate, resident};
use crate::support::{Member, item, subject};

/// Tasks at the same time. A person belongs to one of them.
pub(crate) const TASKS: u32 = 4;
/// The most records of one stream.
const STREAM_MAX: u64 = 12;

/// What the tasks share.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared {
    model: Arc<Mutex<Model>>,
    /// The next made-up person.
    next: Arc<AtomicU32>,
}

/// Load under way.
pub(crate) struct Load {
    tasks: JoinSet<Result<(), String>>,
    ending: Arc<AtomicBool>,
}

impl Shared {
    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }

    pub(crate) fn take(&self) -> Model {
        std::mem::take(&mut *self.model())
    }

    pub(crate) fn put_back(&self, model: Model) {
        *self.model() = model;
    }

    /// Starts the tasks.
    pub(crate) fn begin(&self, member: &Member, seed: u64) -> Load {
        let ending = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for number in 0..TASKS {
            let task = Task {
                shared: self.clone(),
                ending: Arc::clone(&ending),
                number,
                puts: member.client("his"),
                counter: member.client("counter"),
                dice: Dice::new(seed ^ (u64::from(number) << 56)),
            };
            tasks.spawn(task.run());
        }
        Load { tasks, ending }
    }
}

impl Load {
    /// From here on calls may fail: the node is being stopped.
    pub(crate) fn expect_the_end(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    /// Waits for the tasks; they end at their first failed call.
    pub(crate) async fn ended(mut self) {
        while let Some(done) = self.tasks.join_next().await {
            done.unwrap()
                .unwrap_or_else(|fault| panic!("while the node was running: {fault}"));
        }
    }
}

struct Task {
    shared: Shared,
    ending: Arc<AtomicBool>,
    number: u32,
    puts: Client,
    counter: Client,
    dice: Dice,
}

impl Task {
    async fn run(mut self) -> Result<(), String> {
        loop {
            let done = match self.dice.below(100) {
                0..60 => self.put().await,
                60..80 => self.give().await,
                80..97 => self.withdraw().await,
                _ => self.erase().await,
            };
            match done {
                Ok(()) => {}
                Err(_) if self.ending.load(Ordering::SeqCst) => return Ok(()),
                Err(fault) => return Err(fault),
            }
        }
    }

    /// New people, known people, new records, new versions; all in one stream.
    async fn put(&mut self) -> Result<(), String> {
        let mut keys = Vec::new();
        let mut items = Vec::new();
        for _ in 0..1 + self.dice.below(STREAM_MAX) {
            let (person, id, version) = self.choose();
            if keys.iter().any(|(known, _)| *known == id) {
                continue;
            }
            let note = match self.dice.below(100) {
                0..80 => self.dice.below(400),
                80..97 => self.dice.below(20_000),
                _ => self.dice.below(300_000),
            };
            let bytes = heart_rate(&id, version, usize::try_from(note).unwrap());
            items.push(item(bytes.clone(), &resident(person)));
            keys.push((id.clone(), version));
            self.shared.model().records.insert(
                (id, version),
                Version {
                    person,
                    bytes,
                    acked: None,
                },
            );
        }
        self.send(&keys, items).await
    }

    async fn send(
        &mut self,
        keys: &[(String, u32)],
        items: Vec<v1::PutItem>,
    ) -> Result<(), String> {
        let mut messages = vec![v1::PutRequest {
            part: Some(v1::put_request::Part::Open(v1::PutOpen::default())),
        }];
        messages.extend(items.into_iter().map(|i| v1::PutRequest {
            part: Some(v1::put_request::Part::Item(i)),
        }));
        let mut results = self
            .puts
            .put(tokio_stream::iter(messages))
            .await
            .map_err(|s| s.to_string())?
            .into_inner();
        while let Some(result) = results.message().await.map_err(|s| s.to_string())? {
            if result.outcome != i32::from(v1::PutOutcome::Stored) {
                return Err(format!(
                    "{} was not stored: {:?}",
                    result.record_id, result.reason
                ));
            }
            let mut model = self.shared.model();
            let key = &keys[usize::try_from(result.position).unwrap()];
            model.records.get_mut(key).unwrap().acked = result.leaf;
            model.acked += 1;
        }
        Ok(())
    }

    /// Whom and what the next record is about.
    fn choose(&mut self) -> (u32, String, u32) {
        let model = self.shared.model();
        let mine = |person: u32| person % TASKS == self.number && !model.is_gone(person);
        if self.dice.chance(60) {
            // Somewhere in the order of ids, the next that is ours: another version of it.
            let from = (format!("r{:06}", self.dice.below(100_000)), 0);
            let mut around = model
                .records
                .range(from..)
                .chain(model.records.iter())
                .filter(|(_, v)| mine(v.person));
            if let Some(((id, _), version)) = around.next() {
                if self.dice.chance(60) {
                    let last = model
                        .records
                        .range((id.clone(), 0)..=(id.clone(), u32::MAX))
                        .next_back();
                    return (version.person, id.clone(), last.unwrap().0.1 + 1);
                }
                let number = self.shared.next.fetch_add(1, Ordering::SeqCst);
                return (version.person, format!("r{:06}", spread(number)), 1);
            }
        }
        let number = self.shared.next.fetch_add(1, Ordering::SeqCst);
        let person = number * TASKS + self.number;
        (person, format!("r{:06}", spread(number)), 1)
    }

    /// A person who has something here or nothing yet.
    fn someone(&mut self) -> u32 {
        let (person, ..) = self.choose();
        person
    }

    async fn give(&mut self) -> Result<(), String> {
        let person = self.someone();
        let terms = v1::ConsentTerms {
            effect: v1::ConsentEffect::Permit.into(),
            recipient_ids: vec!["hospital-1".into()],
            purposes: vec!["TREAT".into()],
            level_ceiling: 4,
            ..Default::default()
        };
        let request = v1::GrantConsentRequest {
            subject: Some(subject(&resident(person))),
            terms: Some(terms),
        };
        let answer = self
            .counter
            .grant_consent(request)
            .await
            .map_err(|s| s.to_string())?
            .into_inner();
        let mut model = self.shared.model();
        let seq = answer.leaf.unwrap().seq;
        model.consents.insert(
            answer.consent_id,
            Given {
                person,
                seq,
                withdrawn: Standing::No,
            },
        );
        model.acked += 1;
        Ok(())
    }

    async fn withdraw(&mut self) -> Result<(), String> {
        let chosen = {
            let mut model = self.shared.model();
            let open: Vec<(Vec<u8>, u32)> = model
                .consents
                .iter()
                .filter(|(_, c)| c.withdrawn == Standing::No && c.person % TASKS == self.number)
                .filter(|(_, c)| !model.is_gone(c.person))
                .map(|(id, c)| (id.clone(), c.person))
                .collect();
            if open.is_empty() {
                return Ok(());
            }
            let (id, person) = self.dice.pick(&open).clone();
            model.consents.get_mut(&id).unwrap().withdrawn = Standing::Sent;
            (id, person)
        };
        let (id, person) = chosen;
        let request = v1::WithdrawConsentRequest {
            subject: Some(subject(&resident(person))),
            consent_id: id.clone(),
        };
        let _leaf = self
            .counter
            .withdraw_consent(request)
            .await
            .map_err(|s| s.to_string())?;
        let mut model = self.shared.model();
        model.consents.get_mut(&id).unwrap().withdrawn = Standing::Acked;
        model.acked += 1;
        Ok(())
    }

    async fn erase(&mut self) -> Result<(), String> {
        let chosen = {
            let mut model = self.shared.model();
            let held: Vec<u32> = model
                .records
                .values()
                .filter(|v| {
                    v.acked.is_some() && v.person % TASKS == self.number && !model.is_gone(v.person)
                })
                .map(|v| v.person)
                .collect();
            if held.is_empty() {
                return Ok(());
            }
            let person = *self.dice.pick(&held);
            model.erased.insert(person, Standing::Sent);
            person
        };
        let request = v1::EraseSubjectRequest {
            subject: Some(subject(&resident(chosen))),
            ground: "request".into(),
        };
        let _leaf = self
            .counter
            .erase_subject(request)
            .await
            .map_err(|s| s.to_string())?;
        let mut model = self.shared.model();
        model.erased.insert(chosen, Standing::Acked);
        model.acked += 1;
        Ok(())
    }
}

/// Spreads consecutive numbers over the order of ids, each to another.
const fn spread(number: u32) -> u32 {
    (number * 7_919) % 100_003
}
