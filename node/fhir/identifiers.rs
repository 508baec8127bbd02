//! Chinese identifiers inside a resource: resident identity numbers and unified social credit codes.

use record::resident_id::{RESIDENT_ID_SYSTEM, ResidentIdWarning};
use record::{CreditCode, ReasonCode, ResidentId, Timestamp};

use crate::json::Value;
use crate::outcome::{Issue, IssueType, OperationOutcome};

/// System of unified social credit codes (GB 32100) in this exchange. HL7 China's guides describe the identifier by a
/// slice of type `CODS` and leave its system open, so both this system and that type are recognised.
pub const CREDIT_CODE_SYSTEM: &str = "urn:songhe:credit-code";
/// The identifier type of the HL7 China slice for credit codes.
const CREDIT_CODE_TYPE: &str = "CODS";

/// Checks every identifier of the two kinds, wherever it stands; gives the valid resident numbers of Patients.
pub(crate) fn check(
    resource: &Value<'_>,
    now: Timestamp,
    outcome: &mut OperationOutcome,
) -> Vec<ResidentId> {
    let mut found = Vec::new();
    let root = resource.text("resourceType").unwrap_or_default();
    walk(resource, root, root == "Patient", now, outcome, &mut found);
    if root == "Patient"
        && let (Some(id), Some(born)) = (found.first(), resource.text("birthDate"))
        && let Some((y, m, d)) = id.birth_date()
        && !format!("{y:04}-{m:02}-{d:02}").starts_with(born)
    {
        outcome.push(Issue::warning(
            IssueType::BusinessRule,
            "Patient.birthDate",
            "the date of birth differs from the one in the resident identity number",
        ));
    }
    found
}

fn walk(
    value: &Value<'_>,
    path: &str,
    patient: bool,
    now: Timestamp,
    outcome: &mut OperationOutcome,
    found: &mut Vec<ResidentId>,
) {
    for member in value.members() {
        for item in member.value.items() {
            if !item.is_object() {
                continue;
            }
            let patient = match item.text("resourceType") {
                Some(name) => name == "Patient",
                None => patient,
            };
            let path = format!("{path}.{}", member.key);
            if let Some(text) = item.text("value") {
                if item.text("system") == Some(RESIDENT_ID_SYSTEM) {
                    resident(text, &path, now, outcome)
                        .filter(|_| patient && &*member.key == "identifier")
                        .into_iter()
                        .for_each(|id| found.push(id));
                } else if is_credit_code(item) && CreditCode::parse(text).is_err() {
                    outcome.push(Issue::error(
                        ReasonCode::RecordInvalid,
                        IssueType::BusinessRule,
                        &path,
                        "the unified social credit code (GB 32100) is not valid",
                    ));
                }
            }
            walk(item, &path, patient, now, outcome, found);
        }
    }
}

/// A valid number, or an issue that says what is wrong without repeating it.
pub(crate) fn resident(
    text: &str,
    path: &str,
    now: Timestamp,
    outcome: &mut OperationOutcome,
) -> Option<ResidentId> {
    match ResidentId::parse(text, now) {
        Ok((id, warning)) => {
            if let Some(ResidentIdWarning::UnknownDistrict) = warning {
                outcome.push(Issue::warning(
                    IssueType::BusinessRule,
                    path,
                    "the resident identity number names a district that is not in the table of 2023",
                ));
            }
            Some(id)
        }
        Err(fault) => {
            outcome.push(Issue::error(
                ReasonCode::RecordInvalid,
                IssueType::BusinessRule,
                path,
                fault.to_string(),
            ));
            None
        }
    }
}

fn is_credit_code(identifier: &Value<'_>) -> bool {
    identifier.text("system") == Some(CREDIT_CODE_SYSTEM)
        || identifier.get("type").is_some_and(|t| {
            t.each("coding")
                .iter()
                .any(|c| c.text("code") == Some(CREDIT_CODE_TYPE))
        })
}
