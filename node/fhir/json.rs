//! A small JSON reader that keeps where every value stands in the text, so that nothing is ever written anew.

use std::borrow::Cow;
use std::ops::Range;

use crate::limits::Limits;
use crate::reader::Reader;

/// A value and its place in the text.
#[derive(Debug)]
pub(crate) struct Value<'a> {
    /// Byte range in the text.
    pub(crate) span: Range<usize>,
    pub(crate) kind: Kind<'a>,
}

#[derive(Debug)]
pub(crate) enum Kind<'a> {
    Null,
    Bool(bool),
    /// A number exactly as written.
    Number(&'a str),
    /// A string with its escapes resolved.
    String(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    Object(Vec<Member<'a>>),
}

#[derive(Debug)]
pub(crate) struct Member<'a> {
    pub(crate) key: Cow<'a, str>,
    pub(crate) value: Value<'a>,
}

impl<'a> Value<'a> {
    pub(crate) fn members(&self) -> &[Member<'a>] {
        match &self.kind {
            Kind::Object(members) => members,
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::Array(_) => &[],
        }
    }

    /// The items of an array; a value that is no array counts as its own only item.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.kind {
            Kind::Array(items) => items,
            Kind::Null => &[],
            Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::Object(_) => {
                std::slice::from_ref(self)
            }
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.members()
            .iter()
            .find(|m| m.key == key)
            .map(|m| &m.value)
    }

    /// The items under `key`, none when it is absent.
    pub(crate) fn each(&self, key: &str) -> &[Self] {
        self.get(key).map_or(&[], Self::items)
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::String(text) => Some(text),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Array(_) | Kind::Object(_) => None,
        }
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Self::as_str)
    }

    pub(crate) const fn is_object(&self) -> bool {
        matches!(self.kind, Kind::Object(_))
    }

    pub(crate) fn as_number(&self) -> Option<&'a str> {
        match self.kind {
            Kind::Number(text) => Some(text),
            Kind::Null | Kind::Bool(_) | Kind::String(_) | Kind::Array(_) | Kind::Object(_) => None,
        }
    }
}

/// What is wrong with a text, and at which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JsonFault {
    pub(crate) at: usize,
    pub(crate) kind: JsonFaultKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonFaultKind {
    #[error("the text is not valid UTF-8")]
    Utf8,
    #[error("the text ends inside the JSON value")]
    End,
    #[error("this is not JSON")]
    Syntax,
    #[error("there is more after the JSON value")]
    Trailing,
    #[error("the same key stands twice in one object")]
    DuplicateKey,
    #[error("the value is nested too deeply")]
    TooDeep,
    #[error("an object has too many members")]
    TooWide,
    #[error("the resource has too many values")]
    TooMany,
}

/// The text behind an optional byte order mark, checked to be UTF-8, and how many bytes the mark took.
pub(crate) fn utf8(bytes: &[u8]) -> Result<(&str, usize), JsonFault> {
    let (body, skipped) = match bytes.strip_prefix(b"\xef\xbb\xbf") {
        Some(rest) => (rest, 3),
        None => (bytes, 0),
    };
    match std::str::from_utf8(body) {
        Ok(text) => Ok((text, skipped)),
        Err(fault) => Err(JsonFault {
            at: skipped + fault.valid_up_to(),
            kind: JsonFaultKind::Utf8,
        }),
    }
}

/// Reads one complete value; nothing but white space may follow.
pub(crate) fn parse<'a>(text: &'a str, limits: &Limits) -> Result<Value<'a>, JsonFault> {
    let mut reader = Reader::new(text, *limits);
    let value = reader.value(0)?;
    reader.end()?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> JsonFaultKind {
        parse(text, &Limits::DEFAULT).unwrap_err().kind
    }

    #[test]
    fn numbers_and_spans_are_kept_as_written() {
        let text = r#" {"a": 1.50, "b":[true , null,"x\u00e9\ud83d\ude00"]} "#;
        let value = parse(text, &Limits::DEFAULT).unwrap();
        assert_eq!(value.get("a").unwrap().as_number(), Some("1.50"));
        assert_eq!(value.each("b")[2].as_str(), Some("xé😀"));
        assert_eq!(
            text.get(value.get("b").unwrap().span.clone()).unwrap(),
            r#"[true , null,"x\u00e9\ud83d\ude00"]"#
        );
    }

    #[test]
    fn each_fault_has_its_own_name() {
        assert_eq!(fault(r#"{"a":1,"a":2}"#), JsonFaultKind::DuplicateKey);
        assert_eq!(
            fault("{\"a\":1,\"\\u0061\":2}"),
            JsonFaultKind::DuplicateKey
        );
        assert_eq!(fault("{} x"), JsonFaultKind::Trailing);
        assert_eq!(fault("{\"a\":"), JsonFaultKind::End);
        assert_eq!(fault("\"\\ud800\""), JsonFaultKind::Syntax);
        assert_eq!(fault("[1,]"), JsonFaultKind::Syntax);
        assert_eq!(fault("01"), JsonFaultKind::Trailing);
        assert_eq!(fault("NaN"), JsonFaultKind::Syntax);
        assert_eq!(fault(&"[".repeat(1_000_000)), JsonFaultKind::TooDeep);
        assert!(
            parse(
                &format!("{}{}", "[".repeat(64), "]".repeat(64)),
                &Limits::DEFAULT
            )
            .is_ok()
        );
        assert_eq!(
            fault(&format!("{}{}", "[".repeat(65), "]".repeat(65))),
            JsonFaultKind::TooDeep
        );
        assert_eq!(
            fault(&format!("[{}0]", "0,".repeat(200_000))),
            JsonFaultKind::TooMany
        );
        let wide: Vec<String> = (0..300).map(|i| format!("\"k{i}\":0")).collect();
        assert_eq!(
            fault(&format!("{{{}}}", wide.join(","))),
            JsonFaultKind::TooWide
        );
        assert_eq!(utf8(b"\xef\xbb\xbf{}").unwrap(), ("{}", 3));
        assert_eq!(utf8(b"{\xff}").unwrap_err().kind, JsonFaultKind::Utf8);
    }

    #[test]
    fn agrees_with_another_reader_on_what_is_json() {
        for text in [
            "{}",
            "[]",
            "0",
            "-0",
            "-",
            "1e5",
            "1e",
            "1.",
            ".5",
            "\"\t\"",
            "\"\\x\"",
            "{\"a\"}",
            "[1 2]",
            "tru",
            "true",
            "\"\\u12\"",
            "\"\\udc00\"",
            "",
            " ",
            "nulll",
            "{\"a\":1,}",
            "-01",
            "1E+2",
        ] {
            assert_eq!(
                parse(text, &Limits::DEFAULT).is_ok(),
                serde_json::from_str::<serde_json::Value>(text).is_ok(),
                "{text}"
            );
        }
    }
}
