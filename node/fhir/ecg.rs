//! Electrocardiograms and other sampled data: units, and the shape of FHIR's `SampledData`.

use record::ReasonCode;

use crate::json::Value;
use crate::outcome::{Issue, IssueType, OperationOutcome};
use crate::vitals::LOINC;

/// IEEE 11073-10101, by its OID.
const MDC: &str = "urn:oid:2.16.840.1.113883.6.24";
/// The code of an ECG lead's potential in IEEE 11073-10101 (`MDC_ECG_ELEC_POTL`).
const MDC_ECG: &str = "131328";
/// LOINC codes of an ECG as a whole.
const ECG_LOINC: [&str; 3] = ["11524-6", "34534-8", "76282-3"];
/// Samples of one `SampledData` checked token by token.
const SAMPLES_MAX: usize = 1_000_000;

/// Whether a code is that of an ECG.
pub(crate) fn is_ecg(system: Option<&str>, code: &str) -> bool {
    match system {
        Some(LOINC) => ECG_LOINC.contains(&code),
        Some(MDC) => code == MDC_ECG,
        _ => false,
    }
}

/// ECG samples: potential in millivolt or microvolt, and the shape of sampled data.
pub(crate) fn samples(sampled: &Value<'_>, path: &str, outcome: &mut OperationOutcome) {
    if let Some(origin) = sampled.get("origin") {
        let unit = origin.text("code").or_else(|| origin.text("unit"));
        match unit {
            Some("mV" | "uV" | "µV" | "μV") => {}
            Some(_) => outcome.push(Issue::error(
                ReasonCode::UnitInvalid,
                IssueType::BusinessRule,
                &format!("{path}.origin"),
                "an ECG (MDC 131328) is exchanged in mV or uV (UCUM)",
            )),
            None => outcome.push(Issue::warning(
                IssueType::BusinessRule,
                &format!("{path}.origin"),
                "without a unit the samples are the converter's counts; give mV or uV (UCUM)",
            )),
        }
    }
    shape(sampled, path, outcome);
}

/// FHIR R4 datatype `SampledData`: a positive period, at least one dimension, decimals or E, U, L between blanks.
pub(crate) fn shape(sampled: &Value<'_>, path: &str, outcome: &mut OperationOutcome) {
    let positive = sampled
        .get("period")
        .and_then(Value::as_number)
        .and_then(|p| p.parse::<f64>().ok())
        .is_none_or(|p| p > 0.0);
    if !positive {
        outcome.push(Issue::error(
            ReasonCode::ValueOutOfRange,
            IssueType::BusinessRule,
            &format!("{path}.period"),
            "the time between samples is above zero milliseconds",
        ));
    }
    let Some(data) = sampled.text("data") else {
        return;
    };
    let mut count = 0_usize;
    let mut sound = true;
    for token in data.split(' ').filter(|t| !t.is_empty()) {
        count += 1;
        if count > SAMPLES_MAX {
            break;
        }
        sound &= matches!(token, "E" | "U" | "L") || is_decimal(token);
    }
    if !sound {
        outcome.push(Issue::error(
            ReasonCode::RecordInvalid,
            IssueType::Value,
            &format!("{path}.data"),
            "samples are decimals or E, U, L with blanks between them",
        ));
    }
    let dimensions = sampled
        .get("dimensions")
        .and_then(Value::as_number)
        .and_then(|d| d.parse::<usize>().ok());
    if let Some(dimensions) = dimensions
        && count <= SAMPLES_MAX
        && dimensions > 0
        && !count.is_multiple_of(dimensions)
    {
        outcome.push(Issue::error(
            ReasonCode::RecordInvalid,
            IssueType::Value,
            &format!("{path}.data"),
            "the number of samples is a multiple of the dimensions",
        ));
    }
}

fn is_decimal(token: &str) -> bool {
    token.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+' || c == '.')
        && token.parse::<f64>().is_ok_and(f64::is_finite)
}
