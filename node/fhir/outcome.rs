//! What is wrong with a resource, as a FHIR `OperationOutcome` that names places and rules and never values.

use core::fmt;

use record::ReasonCode;
use serde_json::{Value, json};

/// The most issues an outcome lists; a resource of a thousand faults is told by its first ones.
pub const ISSUES_MAX: usize = 64;
/// Code system of this node's reasons in `OperationOutcome.issue.details`.
pub const REASON_SYSTEM: &str = "urn:songhe:reason";
/// The longest name of an element in FHIR R4 has 33 characters; longer keys are not repeated.
const NAME_MAX: usize = 40;

/// `OperationOutcome.issue.severity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The resource is refused.
    Error,
    /// The resource is accepted; somebody should look.
    Warning,
}

/// `OperationOutcome.issue.code`, <http://hl7.org/fhir/R4/valueset-issue-type.html>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IssueType {
    /// The text or the structure is not FHIR JSON.
    Structure,
    /// A required element is absent.
    Required,
    /// A value is not of its type's form.
    Value,
    /// A rule between elements is broken.
    Invariant,
    /// A code is not in the required set.
    CodeInvalid,
    /// The request or type is not supported.
    NotSupported,
    /// Larger or deeper than accepted.
    TooLong,
    /// A rule of the exchange (units, ranges, identifiers).
    BusinessRule,
    /// The stream ended too early.
    Incomplete,
}

impl IssueType {
    /// The FHIR code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Structure => "structure",
            Self::Required => "required",
            Self::Value => "value",
            Self::Invariant => "invariant",
            Self::CodeInvalid => "code-invalid",
            Self::NotSupported => "not-supported",
            Self::TooLong => "too-long",
            Self::BusinessRule => "business-rule",
            Self::Incomplete => "incomplete",
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Refuses or warns.
    pub severity: Severity,
    /// Which kind of fault.
    pub code: IssueType,
    /// The reason code this finding alone would give.
    pub reason: ReasonCode,
    /// Where: `Observation.component[1].valueQuantity.unit`; empty for the whole text.
    pub expression: String,
    /// Which rule, lower-case, without any value of the resource.
    pub diagnostics: String,
}

impl Issue {
    /// A finding that refuses the resource.
    #[must_use]
    pub fn error(reason: ReasonCode, code: IssueType, path: &str, rule: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            reason,
            expression: safe_path(path),
            diagnostics: rule.into(),
        }
    }

    /// A finding that only warns.
    #[must_use]
    pub fn warning(code: IssueType, path: &str, rule: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            code,
            reason: ReasonCode::RecordInvalid,
            expression: safe_path(path),
            diagnostics: rule.into(),
        }
    }
}

/// A list of findings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperationOutcome {
    /// The findings, at most [`ISSUES_MAX`].
    pub issues: Vec<Issue>,
    /// How many more there were.
    pub left_out: usize,
}

impl OperationOutcome {
    pub(crate) fn push(&mut self, issue: Issue) {
        if self.issues.len() < ISSUES_MAX {
            self.issues.push(issue);
            return;
        }
        self.left_out += 1;
        // However many warnings came before, an error must show: it decides.
        let refused = self.issues.iter().any(|i| i.severity == Severity::Error);
        if issue.severity == Severity::Error
            && !refused
            && let Some(last) = self.issues.last_mut()
        {
            *last = issue;
        }
    }

    /// FHIR R4 JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut issues: Vec<Value> = self.issues.iter().map(issue_json).collect();
        if self.left_out > 0 {
            issues.push(json!({"severity": "information", "code": "informational",
                "diagnostics": format!("{} more findings are not listed", self.left_out)}));
        }
        if issues.is_empty() {
            // R4 wants one issue at least.
            issues.push(json!({"severity": "information", "code": "informational", "diagnostics": "no findings"}));
        }
        json!({"resourceType": "OperationOutcome", "issue": issues}).to_string()
    }
}

fn issue_json(issue: &Issue) -> Value {
    let mut out = json!({
        "severity": match issue.severity { Severity::Error => "error", Severity::Warning => "warning" },
        "code": issue.code.as_str(),
        "diagnostics": issue.diagnostics,
    });
    if let Some(object) = out.as_object_mut() {
        if issue.severity == Severity::Error {
            object.insert(
                "details".into(),
                json!({"coding": [{"system": REASON_SYSTEM, "code": issue.reason.as_str()}]}),
            );
        }
        if !issue.expression.is_empty() {
            object.insert("expression".into(), json!([issue.expression]));
        }
    }
    out
}

/// A refused resource: the reason the sender is told and every finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Why, in one word: of the first error found.
    pub reason: ReasonCode,
    /// Where and which rules.
    pub outcome: OperationOutcome,
}

impl Fault {
    /// A fault of one finding.
    #[must_use]
    pub fn one(reason: ReasonCode, code: IssueType, path: &str, rule: impl Into<String>) -> Self {
        Self {
            reason,
            outcome: OperationOutcome {
                issues: vec![Issue::error(reason, code, path, rule)],
                left_out: 0,
            },
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason.english())?;
        let first = self
            .outcome
            .issues
            .iter()
            .find(|i| i.severity == Severity::Error);
        if let Some(issue) = first {
            write!(f, " ({}", issue.diagnostics)?;
            if !issue.expression.is_empty() {
                write!(f, " at {}", issue.expression)?;
            }
            f.write_str(")")?;
        }
        write!(f, "; {}", self.reason.next_english())
    }
}

impl std::error::Error for Fault {}

/// A path whose element names come from the sender: a name that cannot be FHIR's (digits in a row, other letters)
/// might be data in the wrong place, so it is shown as `?`.
fn safe_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for (i, part) in path.split('.').enumerate() {
        if i > 0 {
            out.push('.');
        }
        let (name, index) = part.find('[').map_or((part, ""), |at| part.split_at(at));
        let plain = name.trim_start_matches('_');
        let known = plain.len() <= NAME_MAX
            && plain.starts_with(|c: char| c.is_ascii_alphabetic())
            && plain.bytes().all(|b| b.is_ascii_alphanumeric())
            && plain.bytes().filter(u8::is_ascii_digit).count() <= 2;
        out.push_str(if known { name } else { "?" });
        if index
            .bytes()
            .all(|b| b.is_ascii_digit() || b"[]x".contains(&b))
        {
            out.push_str(index);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_where_and_which_rule() {
        let fault = Fault::one(
            ReasonCode::RecordInvalid,
            IssueType::Required,
            "Observation.status",
            "required element missing",
        );
        let value: Value = serde_json::from_str(&fault.outcome.to_json()).unwrap();
        assert_eq!(value["issue"][0]["expression"][0], "Observation.status");
        assert_eq!(
            value["issue"][0]["details"]["coding"][0]["code"],
            "RECORD_INVALID"
        );
        assert!(fault.to_string().contains("at Observation.status"));
    }

    #[test]
    fn names_that_could_be_data_are_not_repeated() {
        assert_eq!(safe_path("Patient.张伟.name[0]"), "Patient.?.name[0]");
        assert_eq!(safe_path("Patient.50011219400301123X"), "Patient.?");
        assert_eq!(safe_path("Patient.a50011219400301123"), "Patient.?");
        assert_eq!(safe_path("Observation.value[x]"), "Observation.value[x]");
        assert_eq!(safe_path("Patient._birthDate"), "Patient._birthDate");
        assert_eq!(safe_path("Patient.a[b"), "Patient.a");
    }

    #[test]
    fn long_lists_are_cut() {
        let mut outcome = OperationOutcome::default();
        for _ in 0..100 {
            outcome.push(Issue::warning(IssueType::Value, "Patient", "rule"));
        }
        assert_eq!((outcome.issues.len(), outcome.left_out), (64, 36));
        assert!(outcome.to_json().contains("36 more findings"));
        outcome.push(Issue::error(
            ReasonCode::UnitInvalid,
            IssueType::BusinessRule,
            "Observation",
            "rule",
        ));
        let last = outcome.issues.last().map(|i| i.reason);
        assert_eq!(
            last,
            Some(ReasonCode::UnitInvalid),
            "an error shows behind warnings"
        );
    }
}
