//! The elder profile of vital signs: LOINC codes, UCUM units and what is physically possible.
//!
//! Codes: LOINC as FHIR R4 vital-signs uses them (<http://hl7.org/fhir/R4/observation-vitalsigns.html>), glucose codes
//! as meters and laboratories send them, IEEE 11073-10101 for ECG leads. The ranges are wider than any living person's
//! values: they catch a wrong unit or a loose sensor, not an illness.

use record::ReasonCode;

use crate::ecg;
use crate::json::Value;
use crate::outcome::{Issue, IssueType, OperationOutcome};

/// System of LOINC codes.
pub(crate) const LOINC: &str = "http://loinc.org";
/// System of UCUM units.
const UCUM: &str = "http://unitsofmeasure.org";

/// A unit a sign is exchanged in.
struct Unit {
    /// The UCUM code.
    ucum: &'static str,
    /// Other spellings in `unit` when there is no coded unit.
    spoken: &'static [&'static str],
    /// The lowest possible value in this unit.
    low: f64,
    /// The highest possible value in this unit.
    high: f64,
}

/// A sign with a number.
struct Sign {
    name: &'static str,
    loinc: &'static [&'static str],
    units: &'static [Unit],
}

const fn unit(ucum: &'static str, spoken: &'static [&'static str], low: f64, high: f64) -> Unit {
    Unit {
        ucum,
        spoken,
        low,
        high,
    }
}

const PER_MINUTE: &[&str] = &[
    "beats/minute",
    "beats/min",
    "bpm",
    "breaths/minute",
    "breaths/min",
    "次/分",
];

static SIGNS: [Sign; 13] = [
    Sign {
        name: "systolic blood pressure",
        loinc: &["8480-6", "8459-0", "8460-8", "8461-6", "76534-7"],
        units: &[unit("mm[Hg]", &["mmHg"], 20.0, 350.0)],
    },
    Sign {
        name: "diastolic blood pressure",
        loinc: &["8462-4", "8453-3", "8454-1", "8455-8", "76535-4"],
        units: &[unit("mm[Hg]", &["mmHg"], 5.0, 250.0)],
    },
    Sign {
        name: "mean blood pressure",
        loinc: &["8478-0", "76536-2"],
        units: &[unit("mm[Hg]", &["mmHg"], 10.0, 300.0)],
    },
    Sign {
        name: "blood glucose",
        loinc: &[
            "15074-8", "14743-9", "14749-6", "14770-2", "14771-0", "2339-0", "2345-7", "2340-8",
            "41653-7", "1558-6",
        ],
        units: &[
            unit("mmol/L", &[], 0.0, 120.0),
            unit("mg/dL", &[], 0.0, 2160.0),
        ],
    },
    Sign {
        name: "oxygen saturation",
        loinc: &["59408-5", "2708-6"],
        units: &[unit("%", &[], 0.0, 100.0)],
    },
    Sign {
        name: "heart rate",
        loinc: &["8867-4", "8889-8", "68999-2"],
        units: &[
            unit("/min", PER_MINUTE, 0.0, 400.0),
            unit("{beats}/min", &[], 0.0, 400.0),
            unit("{Beats}/min", &[], 0.0, 400.0),
        ],
    },
    Sign {
        name: "respiratory rate",
        loinc: &["9279-1"],
        units: &[
            unit("/min", PER_MINUTE, 0.0, 200.0),
            unit("{breaths}/min", &[], 0.0, 200.0),
            unit("{Breaths}/min", &[], 0.0, 200.0),
        ],
    },
    Sign {
        name: "body temperature",
        loinc: &["8310-5", "8331-1", "8328-7"],
        units: &[
            unit("Cel", &["°C", "℃"], 10.0, 47.0),
            unit("[degF]", &["°F", "℉"], 50.0, 117.0),
        ],
    },
    Sign {
        name: "body weight",
        loinc: &["29463-7", "3141-9", "3142-7"],
        units: &[
            unit("kg", &["公斤", "千克"], 0.2, 700.0),
            unit("g", &[], 200.0, 700_000.0),
            unit("[lb_av]", &["lbs", "lb"], 0.4, 1544.0),
        ],
    },
    Sign {
        name: "body height",
        loinc: &["8302-2", "3137-7", "8306-3"],
        units: &[
            unit("cm", &["厘米"], 15.0, 290.0),
            unit("m", &["米"], 0.15, 2.9),
            unit("[in_i]", &["in"], 6.0, 114.0),
        ],
    },
    Sign {
        name: "body mass index",
        loinc: &["39156-5"],
        units: &[unit("kg/m2", &["kg/m^2", "kg/m²"], 2.0, 250.0)],
    },
    Sign {
        name: "inspired oxygen",
        loinc: &["3150-6"],
        units: &[unit("%", &[], 0.0, 100.0)],
    },
    Sign {
        name: "oxygen flow",
        loinc: &["3151-8"],
        units: &[unit("L/min", &["l/min"], 0.0, 150.0)],
    },
];

/// Checks the values of an Observation that carries a code of a common sign.
pub(crate) fn check(observation: &Value<'_>, outcome: &mut OperationOutcome) {
    part(observation, "Observation", outcome);
    for (i, component) in observation.each("component").iter().enumerate() {
        part(component, &format!("Observation.component[{i}]"), outcome);
    }
}

fn part(part: &Value<'_>, path: &str, outcome: &mut OperationOutcome) {
    let Some(code) = part.get("code") else { return };
    for coding in code.each("coding") {
        let (system, code) = (coding.text("system"), coding.text("code"));
        let Some(code) = code else { continue };
        if system == Some(LOINC)
            && let Some(sign) = SIGNS.iter().find(|s| s.loinc.contains(&code))
        {
            number(part, sign, path, outcome);
        }
        if ecg::is_ecg(system, code)
            && let Some(sampled) = part.get("valueSampledData")
        {
            ecg::samples(sampled, &format!("{path}.valueSampledData"), outcome);
            return;
        }
    }
    // The leads of an ECG may be coded by hospital codes; sampled data is checked wherever it stands.
    if let Some(sampled) = part.get("valueSampledData") {
        ecg::shape(sampled, &format!("{path}.valueSampledData"), outcome);
    }
}

fn number(part: &Value<'_>, sign: &Sign, path: &str, outcome: &mut OperationOutcome) {
    let Some(quantity) = part.get("valueQuantity") else {
        let other = part
            .members()
            .iter()
            .find(|m| m.key.starts_with("value") && &*m.key != "valueSampledData");
        if other.is_some() {
            outcome.push(Issue::error(
                ReasonCode::RecordInvalid,
                IssueType::BusinessRule,
                path,
                format!("{} is exchanged as valueQuantity", sign.name),
            ));
        }
        return;
    };
    let path = format!("{path}.valueQuantity");
    let Some(value) = quantity.get("value").and_then(Value::as_number) else {
        return;
    };
    let coded = quantity.text("code");
    let spoken = quantity.text("unit");
    let in_ucum = quantity.text("system").is_none_or(|s| s == UCUM);
    let found = sign.units.iter().find(|u| match coded {
        Some(code) => in_ucum && code == u.ucum,
        None => spoken.is_some_and(|text| text == u.ucum || u.spoken.contains(&text)),
    });
    let Some(unit) = found else {
        let expected: Vec<&str> = sign.units.iter().map(|u| u.ucum).collect();
        outcome.push(Issue::error(
            ReasonCode::UnitInvalid,
            IssueType::BusinessRule,
            &path,
            format!(
                "{} (LOINC {}) is exchanged in {} (UCUM)",
                sign.name,
                sign.loinc.first().unwrap_or(&""),
                expected.join(" or ")
            ),
        ));
        return;
    };
    // Only the comparison uses binary floating point; the record keeps its decimal text.
    let possible = value
        .parse::<f64>()
        .is_ok_and(|v| (unit.low..=unit.high).contains(&v));
    if !possible {
        outcome.push(Issue::error(
            ReasonCode::ValueOutOfRange,
            IssueType::BusinessRule,
            &path,
            format!(
                "{} (LOINC {}) lies between {} and {} {}",
                sign.name,
                sign.loinc.first().unwrap_or(&""),
                unit.low,
                unit.high,
                unit.ucum
            ),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;
    use crate::limits::Limits;

    fn reasons(text: &str) -> Vec<ReasonCode> {
        let value = parse(text, &Limits::DEFAULT).unwrap();
        let mut outcome = OperationOutcome::default();
        check(&value, &mut outcome);
        outcome.issues.iter().map(|i| i.reason).collect()
    }

    fn sign(code: &str, value: &str, unit: &str) -> Vec<ReasonCode> {
        reasons(&format!(
            r#"{{"resourceType":"Observation","code":{{"coding":[{{"system":"http://loinc.org","code":"{code}"}}]}},
            "valueQuantity":{{"value":{value},"unit":"x","system":"http://unitsofmeasure.org","code":"{unit}"}}}}"#
        ))
    }

    #[test]
    fn the_five_signs_take_their_units_and_no_others() {
        for (code, value, unit) in [
            ("8480-6", "182", "mm[Hg]"),
            ("15074-8", "7.8", "mmol/L"),
            ("2339-0", "140", "mg/dL"),
            ("59408-5", "91", "%"),
            ("8867-4", "0", "/min"),
        ] {
            assert_eq!(sign(code, value, unit), [], "{code}");
            assert_eq!(
                sign(code, value, "kPa"),
                [ReasonCode::UnitInvalid],
                "{code}"
            );
            assert_eq!(
                sign(code, "99999", unit),
                [ReasonCode::ValueOutOfRange],
                "{code}"
            );
            assert_eq!(
                sign(code, "-1", unit),
                [ReasonCode::ValueOutOfRange],
                "{code}"
            );
        }
    }

    #[test]
    fn the_outcome_names_sign_code_and_unit_but_not_the_value() {
        let value = parse(
            r#"{"code":{"coding":[{"system":"http://loinc.org","code":"85354-9"}]},"component":[{"code":{"coding":[
            {"system":"http://loinc.org","code":"8480-6"}]},"valueQuantity":{"value":17.34,"unit":"kPa"}}]}"#,
            &Limits::DEFAULT,
        )
        .unwrap();
        let mut outcome = OperationOutcome::default();
        check(&value, &mut outcome);
        let text = outcome.to_json();
        assert!(
            text.contains("8480-6")
                && text.contains("mm[Hg]")
                && text.contains("component[0].valueQuantity")
        );
        assert!(!text.contains("17.34") && !text.contains("kPa"));
    }

    #[test]
    fn an_ecg_is_sampled_data_in_millivolt() {
        let ecg = |unit: &str, period: &str, data: &str| {
            reasons(&format!(
                r#"{{"code":{{"coding":[{{"system":"urn:oid:2.16.840.1.113883.6.24","code":"131328"}}]}},
                "valueSampledData":{{"origin":{{"value":0{unit}}},"period":{period},"dimensions":2,"data":"{data}"}}}}"#
            ))
        };
        let mv = r#","code":"mV""#;
        assert_eq!(ecg(mv, "4", "0.1 0.2 E L"), []);
        assert_eq!(
            ecg(r#","code":"mm[Hg]""#, "4", "1 2"),
            [ReasonCode::UnitInvalid]
        );
        assert_eq!(ecg(mv, "0", "1 2"), [ReasonCode::ValueOutOfRange]);
        assert_eq!(ecg(mv, "4", "1 x"), [ReasonCode::RecordInvalid]);
        assert_eq!(ecg(mv, "4", "1 NaN"), [ReasonCode::RecordInvalid]);
        assert_eq!(ecg(mv, "4", "1 2 3"), [ReasonCode::RecordInvalid]);
    }

    #[test]
    fn text_in_place_of_a_number_is_named() {
        let found = reasons(
            r#"{"code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]},"valueString":"fast"}"#,
        );
        assert_eq!(found, [ReasonCode::RecordInvalid]);
    }
}
