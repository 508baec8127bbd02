//! Taking resident identity numbers out of a record before it leaves: no such number travels between nodes.

use std::borrow::Cow;

use record::resident_id::{RESIDENT_ID_SYSTEM, looks_like_resident_id};

use crate::edit::{self, Edit, Place};
use crate::json::{self, Kind, Value};
use crate::mask::STORED;

/// What stands in place of a number.
pub const STARS: &str = "******************";
/// Digits and letters of a resident number.
const LENGTH: usize = 18;

/// Removes identifiers of the resident identity card and puts [`STARS`] over every number that looks like one, inside
/// longer texts and narratives too. The very same bytes come back when there is nothing to take out.
///
/// Numbers inside base64 attachments are not found; such attachments leave in the full tier only. Full-width digits
/// count as digits. Within longer runs of digits only numbers of a plausible province and year of birth are covered,
/// since one in three hundred arbitrary runs would pass the check digit and the date alone.
#[must_use]
pub fn strip_national_ids(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !suspicious(bytes) {
        return Cow::Borrowed(bytes);
    }
    let Ok((text, _)) = json::utf8(bytes) else {
        return starred_bytes(bytes);
    };
    let Ok(resource) = json::parse(text, &STORED) else {
        return starred_bytes(bytes);
    };
    if !found(&resource) {
        return Cow::Borrowed(bytes);
    }
    Cow::Owned(edit::write(text, &resource, &Strip).into_bytes())
}

/// A quick look: is there the card's system, a run of 17 digits, or something that might hide one?
fn suspicious(bytes: &[u8]) -> bool {
    let mut run = 0;
    for (i, &b) in bytes.iter().enumerate() {
        run = if b.is_ascii_digit() { run + 1 } else { 0 };
        // Escapes may spell digits; full-width digits begin with EF BC in UTF-8.
        let escape = b == b'\\' && bytes.get(i + 1) == Some(&b'u');
        let wide = b == 0xEF && bytes.get(i + 1) == Some(&0xBC);
        if run >= LENGTH - 1 || escape || wide {
            return true;
        }
    }
    let system = RESIDENT_ID_SYSTEM.as_bytes();
    bytes.windows(system.len()).any(|w| w == system)
}

fn found(value: &Value<'_>) -> bool {
    if Strip.drops_value(value) {
        return true;
    }
    match &value.kind {
        Kind::String(text) => starred(text).is_some(),
        Kind::Array(items) => items.iter().any(found),
        Kind::Object(members) => members
            .iter()
            .any(|m| starred(&m.key).is_some() || found(&m.value)),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) => false,
    }
}

struct Strip;

impl Edit for Strip {
    fn drops(&self, _place: &Place<'_>, _value: &Value<'_>) -> bool {
        false
    }

    /// An identifier of the card's system, or a bare number that looks like one (JSON has no stars for numbers).
    fn drops_value(&self, value: &Value<'_>) -> bool {
        match &value.kind {
            Kind::Object(_) => {
                value.text("system") == Some(RESIDENT_ID_SYSTEM) && value.get("value").is_some()
            }
            Kind::Number(text) => looks_like_resident_id(text.trim_start_matches('-')),
            Kind::Null | Kind::Bool(_) | Kind::String(_) | Kind::Array(_) => false,
        }
    }

    fn drops_contained(&self, _resource_type: &str) -> bool {
        false
    }

    fn rewrites(&self, text: &str) -> Option<String> {
        starred(text)
    }

    fn drops_extensions(&self) -> bool {
        false
    }

    fn marks_subsetted(&self) -> bool {
        false
    }
}

/// The text with stars over every number; `None` when there is none.
fn starred(text: &str) -> Option<String> {
    if text.len() < LENGTH {
        return None;
    }
    // One plain character per character of the text: full-width digits and X become plain ones.
    let plain: Vec<char> = text.chars().map(plain).collect();
    let mut covered = vec![false; plain.len()];
    let mut any = false;
    let mut run = 0_usize;
    let digit = |c: Option<&char>| c.is_some_and(char::is_ascii_digit);
    for (last, c) in plain.iter().enumerate() {
        let ends_number = run >= LENGTH - 1 && (c.is_ascii_digit() || *c == 'X');
        run = if c.is_ascii_digit() { run + 1 } else { 0 };
        let Some(window) = (last + 1)
            .checked_sub(LENGTH)
            .and_then(|at| plain.get(at..=last))
        else {
            continue;
        };
        // The month's first digit is 0 or 1, the day's 0 to 3: most windows of a long run end here.
        if !ends_number
            || !matches!(window.get(10), Some('0' | '1'))
            || !matches!(window.get(12), Some('0'..='3'))
        {
            continue;
        }
        let candidate: String = window.iter().collect();
        let before = (last + 1 - LENGTH)
            .checked_sub(1)
            .and_then(|b| plain.get(b));
        let alone = !digit(before) && !digit(plain.get(last + 1));
        if looks_like_resident_id(&candidate) && (alone || plausible(&candidate)) {
            for mark in covered.iter_mut().skip(last + 1 - LENGTH).take(LENGTH) {
                *mark = true;
            }
            any = true;
        }
    }
    any.then(|| {
        text.chars()
            .zip(covered)
            .map(|(c, hidden)| if hidden { '*' } else { c })
            .collect()
    })
}

fn plain(c: char) -> char {
    match c {
        '\u{FF10}'..='\u{FF19}' => {
            char::from_u32(u32::from(c) - 0xFF10 + u32::from('0')).unwrap_or(c)
        }
        'x' | '\u{FF38}' | '\u{FF58}' => 'X',
        c => c,
    }
}

/// A province in front and a birth between 1880 and 2099.
fn plausible(candidate: &str) -> bool {
    let province = candidate
        .get(0..6)
        .is_some_and(|d| record::DistrictCode::parse(d).is_ok());
    let year = candidate.get(6..10).and_then(|y| y.parse::<u32>().ok());
    province && year.is_some_and(|y| (1880..2100).contains(&y))
}

/// Bytes that are no JSON: numbers are covered wherever they stand.
fn starred_bytes(bytes: &[u8]) -> Cow<'_, [u8]> {
    let text = String::from_utf8_lossy(bytes);
    match starred(&text) {
        Some(changed) => Cow::Owned(changed.into_bytes()),
        None => Cow::Borrowed(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::ResidentId;

    fn number() -> String {
        ResidentId::complete("50011219400301123").unwrap()
    }

    fn strip(text: &str) -> String {
        String::from_utf8(strip_national_ids(text.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn identifiers_go_and_texts_are_starred() {
        let id = number();
        let wide: String = id
            .chars()
            .map(|c| {
                c.to_digit(10)
                    .map_or('Ｘ', |d| char::from_u32(0xFF10 + d).unwrap())
            })
            .collect();
        let escaped = format!("\\u0035{}", id.strip_prefix('5').unwrap());
        let text = format!(
            r#"{{"resourceType":"Patient","identifier":[{{"system":"{RESIDENT_ID_SYSTEM}","value":"x"}},{{"system":"urn:mrn","value":"7"}}],
            "text":{{"status":"generated","div":"<div>身份证{id}，复查</div>"}},"name":[{{"text":"{wide}"}},{{"text":"{escaped}"}}],
            "multipleBirthInteger":{id0},"link":[{{"other":{{"identifier":{{"system":"{RESIDENT_ID_SYSTEM}","value":"{id}"}}}},"type":"refer"}}],
            "extension":[{{"url":"urn:x","valueDecimal":1.50}}]}}"#,
            id0 = ResidentId::complete("50011219400301120")
                .filter(|n| !n.ends_with('X'))
                .unwrap_or_else(|| "3".into()),
        );
        let out = strip(&text);
        assert!(
            !out.contains(&id) && !out.contains(&wide) && !out.contains("\\u0035"),
            "{out}"
        );
        assert!(!out.contains(RESIDENT_ID_SYSTEM) && !out.contains("50011219400301120"));
        assert!(
            out.contains(&format!("身份证{STARS}，复查"))
                && out.contains("1.50")
                && out.contains("urn:mrn")
        );
        assert!(
            out.contains("data-absent-reason"),
            "Patient.link.other is required: {out}"
        );
        assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok());
    }

    #[test]
    fn nothing_found_gives_the_very_same_bytes() {
        for text in [
            "{\"resourceType\" : \"Patient\" }",
            r#"{"a":"123456789012345678"}"#,
            r#"{"a":"\u4e2d","b":99999999999999999999999999}"#,
            "not json 123456789012345678",
        ] {
            assert!(
                matches!(strip_national_ids(text.as_bytes()), Cow::Borrowed(_)),
                "{text}"
            );
        }
    }

    #[test]
    fn numbers_inside_longer_runs_and_outside_json() {
        let id = number();
        assert_eq!(
            strip(&format!("{{\"a\":\"77{id}88\"}}")),
            format!("{{\"a\":\"77{STARS}88\"}}")
        );
        assert_eq!(
            strip(&format!("broken {id} text")),
            format!("broken {STARS} text")
        );
    }
}
