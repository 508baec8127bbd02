//! One resource judged: its structure, the rules of R4 and of this exchange, and what the node needs to know of it.

use core::fmt;

use record::{Catalog, Level, ReasonCode, RecordTypeCode, ResidentId, Timestamp};

use crate::json::{self, JsonFault, JsonFaultKind, Value};
use crate::limits::Limits;
use crate::outcome::{Fault, Issue, IssueType, OperationOutcome, Severity};
use crate::structure::{Fhirkit, Structure};
use crate::subject::{self, SubjectRef};
use crate::times::moment;
use crate::{identifiers, rules, select, vitals};

/// Code system of data levels (GB/T 39725) in `meta.security`: codes `1` to `5`.
pub const LEVEL_SYSTEM: &str = "urn:songhe:data-level";
/// HL7 v3 Confidentiality.
const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
/// HL7 v3 ActCode, whose sensitivity labels mark special diseases.
const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
/// Labels that mean level 5, "special diseases, only the attending staff" in GB/T 39725.
const SPECIAL: [&str; 12] = [
    "HIV", "STD", "PSY", "PSYTHPN", "MH", "BH", "SDV", "SEX", "SUD", "ETH", "ETHUD", "OPIOIDUD",
];
/// The most codes kept of one resource; they are for looking up, not for storing it.
pub const CODES_MAX: usize = 16;
/// The longest `system|code` kept, in bytes.
const CODE_BYTES_MAX: usize = 200;
/// A clock may run ahead this much before its readings count as future ones.
const FUTURE_MS: i64 = 24 * 3_600_000;

/// What an examination depends on besides the bytes.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Now: bounds dates of birth and finds readings from the future.
    pub now: Timestamp,
    /// The limits.
    pub limits: Limits,
}

impl Context {
    /// A context with the default limits.
    #[must_use]
    pub const fn at(now: Timestamp) -> Self {
        Self {
            now,
            limits: Limits::DEFAULT,
        }
    }
}

/// What the node needs to know of a resource it accepts.
#[derive(Debug)]
pub struct Examined {
    /// `Observation`.
    pub resource_type: String,
    /// `Resource.id`.
    pub id: Option<String>,
    /// `meta.versionId`, else `meta.lastUpdated`.
    pub version: Option<String>,
    /// The record type in the catalogue.
    pub type_code: RecordTypeCode,
    /// The type's level, raised (never lowered) by `meta.security`.
    pub level: Level,
    /// When it happened, as well as the resource tells.
    pub effective: Option<Timestamp>,
    /// Whom it is about.
    pub subject: SubjectRef,
    /// Valid resident identity numbers of the Patient (itself, contained, or named by a logical reference).
    pub resident_ids: Vec<ResidentId>,
    /// `system|code` of `code`, `type`, `class`, medication, vaccine and components, at most [`CODES_MAX`].
    pub codes: Vec<String>,
    /// What is odd but accepted.
    pub warnings: Vec<Issue>,
}

/// Judges one resource.
///
/// # Errors
/// [`Fault`] with the reason of the first error and an outcome that lists every finding by place and rule:
/// `RECORD_TOO_LARGE`, `RECORD_MALFORMED` (not JSON, duplicate keys, too deep, no `resourceType`), `TYPE_UNKNOWN`
/// (the catalogue has no type for it), `RECORD_INVALID`, `UNIT_INVALID`, `VALUE_OUT_OF_RANGE`.
pub fn examine(
    original: &[u8],
    catalog: &Catalog,
    context: &Context,
) -> Result<Examined, Box<Fault>> {
    if original.len() > context.limits.resource_bytes {
        return Err(too_large(context.limits.resource_bytes));
    }
    let (text, skipped) = json::utf8(original).map_err(|f| malformed(&f, 0))?;
    let resource = json::parse(text, &context.limits).map_err(|f| malformed(&f, skipped))?;
    let Some(resource_type) = resource.text("resourceType") else {
        return Err(Box::new(Fault::one(
            ReasonCode::RecordMalformed,
            IssueType::Required,
            "resourceType",
            "a resource is a JSON object with a resourceType",
        )));
    };
    let Some(record_type) = select::record_type(catalog, &resource) else {
        return Err(Box::new(Fault::one(
            ReasonCode::TypeUnknown,
            IssueType::NotSupported,
            "resourceType",
            "the catalogue has no record type for this resource",
        )));
    };
    let mut outcome = OperationOutcome::default();
    for issue in Fhirkit.check(&resource) {
        outcome.push(issue);
    }
    rules::check(&resource, &mut outcome);
    if resource_type == "Observation" {
        vitals::check(&resource, &mut outcome);
    }
    let mut resident_ids = identifiers::check(&resource, context.now, &mut outcome);
    let subject = subject::of(&resource);
    if let SubjectRef::Identifier { system, value } = &subject
        && system == record::resident_id::RESIDENT_ID_SYSTEM
        && resident_ids.is_empty()
        && let Some(id) = identifiers::resident(value, "subject", context.now, &mut outcome)
    {
        resident_ids.push(id);
    }
    let effective = effective(&resource);
    if effective.is_some_and(|at| at.since_ms(context.now) > FUTURE_MS)
        && resource_type == "Observation"
    {
        outcome.push(Issue::warning(
            IssueType::BusinessRule,
            "Observation",
            "the observation lies in the future; check the device's clock",
        ));
    }
    for (key, rule) in [
        (
            "implicitRules",
            "rules this node does not know were followed (implicitRules)",
        ),
        (
            "modifierExtension",
            "a modifier extension changes the meaning; readers must know it",
        ),
    ] {
        if resource.get(key).is_some() {
            outcome.push(Issue::warning(
                IssueType::BusinessRule,
                &format!("{resource_type}.{key}"),
                rule,
            ));
        }
    }
    if let Some(first) = outcome
        .issues
        .iter()
        .find(|i| i.severity == Severity::Error)
    {
        return Err(Box::new(Fault {
            reason: first.reason,
            outcome,
        }));
    }
    let meta = resource.get("meta");
    Ok(Examined {
        resource_type: resource_type.to_owned(),
        id: resource.text("id").map(str::to_owned),
        version: meta
            .and_then(|m| m.text("versionId").or_else(|| m.text("lastUpdated")))
            .map(str::to_owned),
        type_code: record_type.code.clone(),
        level: raised(record_type.level, meta),
        effective,
        subject,
        resident_ids,
        codes: codes(&resource),
        warnings: outcome.issues,
    })
}

pub(crate) fn too_large(limit: usize) -> Box<Fault> {
    Box::new(Fault::one(
        ReasonCode::RecordTooLarge,
        IssueType::TooLong,
        "",
        format!("a resource has at most {limit} bytes"),
    ))
}

pub(crate) fn malformed(fault: &JsonFault, skipped: usize) -> Box<Fault> {
    let code = match fault.kind {
        JsonFaultKind::TooDeep | JsonFaultKind::TooWide | JsonFaultKind::TooMany => {
            IssueType::TooLong
        }
        JsonFaultKind::End => IssueType::Incomplete,
        JsonFaultKind::Utf8
        | JsonFaultKind::Syntax
        | JsonFaultKind::Trailing
        | JsonFaultKind::DuplicateKey => IssueType::Structure,
    };
    Box::new(Fault::one(
        ReasonCode::RecordMalformed,
        code,
        "",
        format!("{} (at byte {})", fault.kind, fault.at + skipped),
    ))
}

fn raised(level: Level, meta: Option<&Value<'_>>) -> Level {
    let labels = meta.map_or(&[][..], |m| m.each("security"));
    labels
        .iter()
        .filter_map(|label| {
            let code = label.text("code")?;
            let number = match label.text("system")? {
                LEVEL_SYSTEM => code.parse().ok()?,
                CONFIDENTIALITY if code == "V" => 5,
                CONFIDENTIALITY if code == "R" => 4,
                ACT_CODE if SPECIAL.contains(&code) => 5,
                _ => return None,
            };
            Level::new(number).ok()
        })
        .fold(level, Level::max)
}

/// The time elements of the catalogued resources, from when it happened to when it was written down.
const TIMES: [&str; 34] = [
    "effectiveDateTime",
    "effectiveInstant",
    "effectivePeriod",
    "effectiveTiming",
    "performedDateTime",
    "performedPeriod",
    "occurrenceDateTime",
    "occurrencePeriod",
    "onsetDateTime",
    "onsetPeriod",
    "identifiedDateTime",
    "identifiedPeriod",
    "started",
    "start",
    "period",
    "executionPeriod",
    "sent",
    "received",
    "context",
    "authored",
    "authoredOn",
    "created",
    "dateTime",
    "date",
    "issued",
    "recordedDate",
    "dateAsserted",
    "assertedDate",
    "whenHandedOver",
    "whenPrepared",
    "statusDate",
    "recorded",
    "performedString",
    "meta",
];

fn effective(resource: &Value<'_>) -> Option<Timestamp> {
    TIMES.iter().find_map(|key| {
        let value = resource.get(key)?;
        if let Some(text) = value.as_str() {
            return moment(text);
        }
        // A period counts from its start; an open one from its end.
        [
            value.get("start"),
            value.get("end"),
            value.get("lastUpdated"),
        ]
        .into_iter()
        .flatten()
        .chain(value.each("event"))
        .chain(value.get("period").and_then(|p| p.get("start")))
        .find_map(|v| v.as_str().and_then(moment))
    })
}

fn codes(resource: &Value<'_>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let concepts = [
        "code",
        "type",
        "class",
        "medicationCodeableConcept",
        "vaccineCode",
    ];
    let own = concepts.iter().flat_map(|key| resource.each(key));
    let parts = resource
        .each("component")
        .iter()
        .flat_map(|c| c.each("code"));
    for concept in own.chain(parts) {
        // `Encounter.class` is a Coding by itself.
        let codings = match concept.get("coding") {
            Some(list) => list.items(),
            None => std::slice::from_ref(concept),
        };
        for coding in codings {
            let Some(code) = coding.text("code") else {
                continue;
            };
            let text = format!("{}|{code}", coding.text("system").unwrap_or_default());
            if found.len() < CODES_MAX && text.len() <= CODE_BYTES_MAX && !found.contains(&text) {
                found.push(text);
            }
        }
    }
    found
}

impl fmt::Display for Examined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} as {} at level {}",
            self.resource_type,
            self.type_code,
            self.level.get()
        )
    }
}
