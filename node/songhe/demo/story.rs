//! The first story: consent, a doctor, a nurse, a clerk, a withdrawal, and a number nobody knows.

use std::time::Instant;

use record::{AgencyKind, ReasonCode, ResidentId};
use wire::v1;

use super::found::{Federation, Member};
use super::load::{Elder, Loaded};
use super::{Step, Tale};
use crate::cli::Failure;
use crate::cli::client::member_outcome;
use crate::convert::tier_name;

/// How one member answered.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Answer {
    outcome: String,
    reason: String,
    tier: String,
    records: u64,
    masked: Vec<String>,
    leaf: Option<u64>,
}

/// What a step must show.
struct Expect {
    outcome: &'static str,
    tier: &'static str,
    reason: Option<ReasonCode>,
}

struct Ask<'a> {
    name: &'static str,
    by: &'a Member,
    as_client: &'static str,
    of: &'a Member,
    number: &'a str,
    types: Vec<String>,
    purpose: &'static str,
}

/// Plays the story.
pub(crate) async fn play(
    federation: &Federation,
    loaded: &Loaded,
    tale: &mut Tale,
) -> Result<(), Failure> {
    let hospital = federation.of_kind(AgencyKind::Hospital)?;
    let bureau = federation.of_kind(AgencyKind::CivilAffairs)?;
    let elder = &loaded.elder;
    let holder = federation
        .members
        .iter()
        .find(|m| m.id == elder.holder)
        .ok_or_else(|| Failure::Fault("the holder is no member".into()))?;
    let types = clinical(elder);
    let ask = |name, by, as_client, number, purpose| Ask {
        name,
        by,
        as_client,
        of: holder,
        number,
        types: types.clone(),
        purpose,
    };
    let refused = |reason| Expect {
        outcome: "refused",
        tier: "",
        reason: Some(reason),
    };

    let before = locate(&ask(
        "locate-without-consent",
        hospital,
        "doctor-li",
        &elder.number,
        "TREAT",
    ))
    .await?;
    tell(
        tale,
        &ask(
            "locate-without-consent",
            hospital,
            "doctor-li",
            &elder.number,
            "TREAT",
        ),
        "locate",
        &before,
        &refused(ReasonCode::ConsentMissing),
        "a doctor asks without the elder's consent",
    );

    let consent = grant(holder, hospital, elder, tale).await?;

    let a = ask(
        "doctor-locates",
        hospital,
        "doctor-li",
        &elder.number,
        "TREAT",
    );
    let found = locate(&a).await?;
    tell(
        tale,
        &a,
        "locate",
        &found,
        &Expect {
            outcome: "data",
            tier: "count",
            reason: None,
        },
        "the doctor learns which records there are",
    );

    let a = ask(
        "doctor-fetches",
        hospital,
        "doctor-li",
        &elder.number,
        "TREAT",
    );
    let full = fetch(&a).await?;
    tell(
        tale,
        &a,
        "fetch",
        &full,
        &Expect {
            outcome: "data",
            tier: "full",
            reason: None,
        },
        "the doctor reads them whole",
    );

    let a = ask(
        "nurse-fetches",
        hospital,
        "nurse-wang",
        &elder.number,
        "TREAT",
    );
    let masked = fetch(&a).await?;
    tell(
        tale,
        &a,
        "fetch",
        &masked,
        &Expect {
            outcome: "data",
            tier: "masked",
            reason: None,
        },
        "a nurse reads them with field groups masked",
    );

    let a = ask(
        "clerk-refused",
        bureau,
        "clerk-zhao",
        &elder.number,
        "ELIGDTRM",
    );
    let clerk = fetch(&a).await?;
    let why = ReasonCode::parse(&clerk.0.reason).unwrap_or(ReasonCode::Internal);
    let by_rule = matches!(
        why,
        ReasonCode::PurposeNotAllowed
            | ReasonCode::LevelTooHigh
            | ReasonCode::BasisInsufficient
            | ReasonCode::ConsentMissing
    );
    let expect = if by_rule {
        refused(why)
    } else {
        refused(ReasonCode::PurposeNotAllowed)
    };
    tell(
        tale,
        &a,
        "fetch",
        &clerk,
        &expect,
        "a clerk of the civil-affairs bureau is refused",
    );

    withdraw(holder, elder, &consent, tale).await?;

    let a = ask(
        "read-after-withdrawal",
        hospital,
        "doctor-li",
        &elder.number,
        "TREAT",
    );
    let after = fetch(&a).await?;
    tell(
        tale,
        &a,
        "fetch",
        &after,
        &refused(ReasonCode::ConsentMissing),
        "the doctor reads again after the withdrawal",
    );

    let nobody = unknown_number(federation);
    let a = ask("unknown-number", hospital, "doctor-li", &nobody, "TREAT");
    let unknown = fetch(&a).await?;
    // What is answered about someone nobody knows must not differ from what is answered about someone known.
    let same = Answer {
        leaf: None,
        ..unknown.0.clone()
    } == Answer {
        leaf: None,
        ..after.0
    };
    let expect = if same {
        refused(ReasonCode::ConsentMissing)
    } else {
        refused(ReasonCode::Internal)
    };
    tell(
        tale,
        &a,
        "fetch",
        &unknown,
        &expect,
        "a number nobody knows is answered in the same words",
    );

    let wrong = mistyped(&elder.number);
    let a = ask("mistyped-number", hospital, "doctor-li", &wrong, "TREAT");
    let mistyped = fetch(&a).await?;
    tell(
        tale,
        &a,
        "fetch",
        &mistyped,
        &refused(ReasonCode::SubjectInvalid),
        "a mistyped number is caught before anyone is asked",
    );
    Ok(())
}

/// Types of this elder that a doctor would ask for, at level 3 or below.
pub(crate) fn clinical(elder: &Elder) -> Vec<String> {
    const WANTED: [&str; 8] = [
        "vitals",
        "exam-report",
        "condition",
        "medication",
        "allergy",
        "encounter",
        "care-assessment",
        "health-summary",
    ];
    let mut types: Vec<String> = WANTED
        .iter()
        .filter(|w| elder.types.iter().any(|t| t == *w))
        .map(|w| (*w).to_owned())
        .collect();
    if types.is_empty() {
        types.extend(elder.types.first().cloned());
    }
    types
}

fn tell(
    tale: &mut Tale,
    ask: &Ask<'_>,
    verb: &'static str,
    answer: &(Answer, u128),
    expect: &Expect,
    told: &str,
) {
    let (answer, ms) = answer;
    let ok = answer.outcome == expect.outcome
        && (expect.tier.is_empty() || answer.tier == expect.tier)
        && expect.reason.is_none_or(|r| answer.reason == r.as_str())
        && (expect.tier != "masked" || !answer.masked.is_empty())
        && (expect.outcome != "data" || answer.records > 0);
    let result = match answer.outcome.as_str() {
        "data" => format!("{} records, tier {}", answer.records, answer.tier),
        outcome => format!("{outcome}, {}", answer.reason),
    };
    tale.tell(&Step {
        name: ask.name,
        verb,
        from: ask.by.id.to_string(),
        to: ask.of.id.to_string(),
        tier: answer.tier.clone(),
        outcome: answer.outcome.clone(),
        reason: answer.reason.clone(),
        leaf: answer.leaf,
        ms: *ms,
        ok,
        told: format!("{told}: {result}"),
    });
}

fn query(ask: &Ask<'_>) -> (Option<v1::Subject>, Option<v1::Query>, Option<v1::Intent>) {
    (
        Some(v1::Subject {
            system: String::new(),
            value: ask.number.to_owned(),
        }),
        Some(v1::Query {
            record_types: ask.types.clone(),
            limit: 500,
            ..Default::default()
        }),
        Some(v1::Intent {
            purpose: ask.purpose.into(),
            basis: "consent".into(),
        }),
    )
}

const DEADLINE_MS: u32 = 30_000;

async fn locate(ask: &Ask<'_>) -> Result<(Answer, u128), Failure> {
    let started = Instant::now();
    let (subject, query, intent) = query(ask);
    let request = v1::FederatedLocateRequest {
        subject,
        query,
        intent,
        member_ids: vec![ask.of.id.to_string()],
        deadline_ms: DEADLINE_MS,
    };
    let mut answer = Answer::default();
    match ask.by.client(ask.as_client).client()?.locate(request).await {
        Ok(stream) => {
            let mut stream = stream.into_inner();
            while let Some(a) = stream.message().await? {
                answer.outcome = member_outcome(a.outcome).into();
                answer.reason = a.reason.map(|r| r.code).unwrap_or_default();
                answer.tier = highest(&a.grants);
                answer.records = a.holdings.iter().map(|h| h.records).sum();
                answer.leaf = a.leaf.map(|l| l.seq);
            }
        }
        Err(status) => refused_by_own_node(&mut answer, status)?,
    }
    Ok((answer, started.elapsed().as_millis()))
}

async fn fetch(ask: &Ask<'_>) -> Result<(Answer, u128), Failure> {
    let started = Instant::now();
    let (subject, query, intent) = query(ask);
    let request = v1::FederatedFetchRequest {
        subject,
        query,
        intent,
        member_ids: vec![ask.of.id.to_string()],
        deadline_ms: DEADLINE_MS,
        cursor: Vec::new(),
    };
    let mut answer = Answer::default();
    match ask.by.client(ask.as_client).client()?.fetch(request).await {
        Ok(stream) => {
            let mut stream = stream.into_inner();
            while let Some(a) = stream.message().await? {
                for r in &a.records {
                    answer.records += 1;
                    answer.tier = tier_name(r.tier).into();
                    for group in &r.masked_groups {
                        if !answer.masked.contains(group) {
                            answer.masked.push(group.clone());
                        }
                    }
                }
                if let Some(leaf) = a.leaf {
                    answer.leaf = Some(leaf.seq);
                }
                if a.outcome != i32::from(v1::MemberOutcome::Unspecified) {
                    answer.outcome = member_outcome(a.outcome).into();
                    answer.reason = a.reason.map(|r| r.code).unwrap_or_default();
                }
            }
        }
        Err(status) => refused_by_own_node(&mut answer, status)?,
    }
    Ok((answer, started.elapsed().as_millis()))
}

fn refused_by_own_node(answer: &mut Answer, status: tonic::Status) -> Result<(), Failure> {
    let Some((refusal, leaf)) = crate::status::refusal_in(&status) else {
        return Err(status.into());
    };
    answer.outcome = "refused".into();
    answer.reason = refusal.reason.as_str().into();
    answer.leaf = leaf.map(|l| l.seq);
    Ok(())
}

fn highest(grants: &[v1::TypeGrant]) -> String {
    grants
        .iter()
        .map(|g| g.tier)
        .max()
        .map(|t| tier_name(t).to_owned())
        .unwrap_or_default()
}

async fn grant(
    holder: &Member,
    to: &Member,
    elder: &Elder,
    tale: &mut Tale,
) -> Result<Vec<u8>, Failure> {
    let started = Instant::now();
    let terms = v1::ConsentTerms {
        effect: v1::ConsentEffect::Permit.into(),
        recipient_ids: vec![to.id.to_string()],
        purposes: vec!["TREAT".into()],
        level_ceiling: 4,
        ..Default::default()
    };
    let subject = Some(v1::Subject {
        system: String::new(),
        value: elder.number.clone(),
    });
    let request = v1::GrantConsentRequest {
        subject,
        terms: Some(terms),
    };
    let answer = holder
        .client("counter")
        .client()?
        .grant_consent(request)
        .await?
        .into_inner();
    tale.tell(&Step {
        name: "consent-given",
        verb: "consent",
        from: holder.id.to_string(),
        to: to.id.to_string(),
        tier: String::new(),
        outcome: "given".into(),
        reason: String::new(),
        leaf: answer.leaf.map(|l| l.seq),
        ms: started.elapsed().as_millis(),
        ok: answer.consent_id.len() == 16,
        told: "at the counter the elder permits the hospital to read for treatment".into(),
    });
    Ok(answer.consent_id)
}

async fn withdraw(
    holder: &Member,
    elder: &Elder,
    consent: &[u8],
    tale: &mut Tale,
) -> Result<(), Failure> {
    let started = Instant::now();
    let request = v1::WithdrawConsentRequest {
        subject: Some(v1::Subject {
            system: String::new(),
            value: elder.number.clone(),
        }),
        consent_id: consent.to_vec(),
    };
    let answer = holder
        .client("counter")
        .client()?
        .withdraw_consent(request)
        .await?
        .into_inner();
    tale.tell(&Step {
        name: "consent-withdrawn",
        verb: "consent",
        from: holder.id.to_string(),
        to: String::new(),
        tier: String::new(),
        outcome: "withdrawn".into(),
        reason: String::new(),
        leaf: answer.leaf.map(|l| l.seq),
        ms: started.elapsed().as_millis(),
        ok: true,
        told: "the elder withdraws the consent".into(),
    });
    Ok(())
}

/// A valid number that nobody in the city has.
fn unknown_number(federation: &Federation) -> String {
    for order in (1..1000).step_by(2) {
        let number = ResidentId::complete(&format!("65010219310203{order:03}")).unwrap_or_default();
        if !federation.city.elders().any(|e| e.resident_id == number) {
            return number;
        }
    }
    String::new()
}

/// The number with another check digit, as a hand might mistype it.
fn mistyped(number: &str) -> String {
    let mut wrong = number.to_owned();
    let last = wrong.pop();
    wrong.push(if last == Some('7') { '8' } else { '7' });
    wrong
}

/// Commands to try while the federation stays up.
pub(crate) fn examples(federation: &Federation, loaded: &Loaded) -> Vec<String> {
    let mut commands = Vec::new();
    let types = clinical(&loaded.elder);
    let Some(kind) = types.first() else {
        return commands;
    };
    for member in &federation.members {
        let common = format!(
            "--node {} --identity {}",
            member.listen.gateway,
            member.clients.display()
        );
        match member.kind {
            AgencyKind::Hospital => commands.push(format!(
                "songhe fetch --subject {} --type {kind} --purpose TREAT {common}/doctor-li.pem",
                loaded.elder.number
            )),
            AgencyKind::CivilAffairs => commands.push(format!(
                "songhe fetch --type facility --purpose CAREMGT --basis statutory-duty {common}/counter.pem"
            )),
            AgencyKind::Community => {
                commands.push(format!(
                    "songhe consent grant --subject {} --to-kind hospital --purpose TREAT --level 4 {common}/counter.pem",
                    loaded.elder.number
                ));
                commands.push(format!("songhe status {common}/auditor-qian.pem"));
            }
        }
    }
    commands
}
