//! The cursor that reads JSON text: RFC 8259 with limits, no recursion beyond them, no loss of what was written.

use std::borrow::Cow;
use std::ops::Range;

use crate::json::{JsonFault, JsonFaultKind, Kind, Member, Value};
use crate::limits::Limits;

/// A cursor over a text.
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    limits: Limits,
    values: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(text: &'a str, limits: Limits) -> Self {
        Self {
            text,
            at: 0,
            limits,
            values: 0,
        }
    }

    pub(crate) const fn fault<T>(&self, kind: JsonFaultKind) -> Result<T, JsonFault> {
        Err(JsonFault { at: self.at, kind })
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(crate) fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Takes `wanted` after white space, if it is next.
    pub(crate) fn take(&mut self, wanted: u8) -> bool {
        self.space();
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    pub(crate) fn expect_byte(&mut self, wanted: u8) -> Result<(), JsonFault> {
        if self.take(wanted) {
            Ok(())
        } else if self.at >= self.text.len() {
            self.fault(JsonFaultKind::End)
        } else {
            self.fault(JsonFaultKind::Syntax)
        }
    }

    pub(crate) fn end(&mut self) -> Result<(), JsonFault> {
        self.space();
        if self.at < self.text.len() {
            return self.fault(JsonFaultKind::Trailing);
        }
        Ok(())
    }

    /// Reads a value into a tree.
    pub(crate) fn value(&mut self, depth: usize) -> Result<Value<'a>, JsonFault> {
        self.space();
        let start = self.at;
        self.values += 1;
        if self.values > self.limits.values {
            return self.fault(JsonFaultKind::TooMany);
        }
        let kind = match self.peek() {
            Some(b'{') => {
                self.open(depth)?;
                let mut members: Vec<Member<'a>> = Vec::new();
                if !self.take(b'}') {
                    loop {
                        self.space();
                        let key = self.string()?;
                        if members.iter().any(|m| m.key == key) {
                            return self.fault(JsonFaultKind::DuplicateKey);
                        }
                        if members.len() >= self.limits.members {
                            return self.fault(JsonFaultKind::TooWide);
                        }
                        self.expect_byte(b':')?;
                        let value = self.value(depth + 1)?;
                        members.push(Member { key, value });
                        if !self.take(b',') {
                            self.expect_byte(b'}')?;
                            break;
                        }
                    }
                }
                Kind::Object(members)
            }
            Some(b'[') => {
                self.open(depth)?;
                let mut items = Vec::new();
                if !self.take(b']') {
                    loop {
                        items.push(self.value(depth + 1)?);
                        if !self.take(b',') {
                            self.expect_byte(b']')?;
                            break;
                        }
                    }
                }
                Kind::Array(items)
            }
            Some(b'"') => Kind::String(self.string()?),
            _ => self.scalar()?,
        };
        Ok(Value {
            span: start..self.at,
            kind,
        })
    }

    /// Passes over a value, checking its syntax and depth but not its keys; its span is what is wanted.
    pub(crate) fn skip(&mut self, depth: usize) -> Result<Range<usize>, JsonFault> {
        self.space();
        let start = self.at;
        match self.peek() {
            Some(b'{') => {
                self.open(depth)?;
                if !self.take(b'}') {
                    loop {
                        self.space();
                        self.string()?;
                        self.expect_byte(b':')?;
                        self.skip(depth + 1)?;
                        if !self.take(b',') {
                            self.expect_byte(b'}')?;
                            break;
                        }
                    }
                }
            }
            Some(b'[') => {
                self.open(depth)?;
                if !self.take(b']') {
                    loop {
                        self.skip(depth + 1)?;
                        if !self.take(b',') {
                            self.expect_byte(b']')?;
                            break;
                        }
                    }
                }
            }
            Some(b'"') => {
                self.string()?;
            }
            _ => {
                self.scalar()?;
            }
        }
        Ok(start..self.at)
    }

    fn open(&mut self, depth: usize) -> Result<(), JsonFault> {
        if depth >= self.limits.depth {
            return self.fault(JsonFaultKind::TooDeep);
        }
        self.at += 1;
        Ok(())
    }

    fn scalar(&mut self) -> Result<Kind<'a>, JsonFault> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        for (word, kind) in [
            ("true", Kind::Bool(true)),
            ("false", Kind::Bool(false)),
            ("null", Kind::Null),
        ] {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok(kind);
            }
        }
        self.number()
    }

    fn digits(&mut self) -> Result<(), JsonFault> {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        match self.peek() {
            _ if self.at > start => Ok(()),
            None => self.fault(JsonFaultKind::End),
            Some(_) => self.fault(JsonFaultKind::Syntax),
        }
    }

    /// RFC 8259, section 6.
    fn number(&mut self) -> Result<Kind<'a>, JsonFault> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(Kind::Number(self.text.get(start..self.at).unwrap_or("0")))
    }

    /// RFC 8259, section 7; lone surrogates are refused, as they are not text.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, JsonFault> {
        match self.peek() {
            Some(b'"') => self.at += 1,
            Some(_) => return self.fault(JsonFaultKind::Syntax),
            None => return self.fault(JsonFaultKind::End),
        }
        let text = self.text;
        let mut run = self.at;
        let mut owned: Option<String> = None;
        loop {
            let rest = text.as_bytes().get(self.at..).unwrap_or_default();
            self.at += rest
                .iter()
                .position(|&b| b == b'"' || b == b'\\' || b < 0x20)
                .unwrap_or(rest.len());
            let piece = text.get(run..self.at).unwrap_or_default();
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(match owned {
                        Some(mut all) => {
                            all.push_str(piece);
                            Cow::Owned(all)
                        }
                        None => Cow::Borrowed(piece),
                    });
                }
                Some(b'\\') => {
                    self.at += 1;
                    let c = self.escape()?;
                    let all = owned.get_or_insert_default();
                    all.push_str(piece);
                    all.push(c);
                    run = self.at;
                }
                Some(_) => return self.fault(JsonFaultKind::Syntax),
                None => return self.fault(JsonFaultKind::End),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonFault> {
        let Some(b) = self.peek() else {
            return self.fault(JsonFaultKind::End);
        };
        self.at += 1;
        let c = match b {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = self.hex4()?;
                let code = if (0xD800..0xDC00).contains(&high) {
                    if !self
                        .text
                        .get(self.at..)
                        .is_some_and(|rest| rest.starts_with("\\u"))
                    {
                        return self.fault(JsonFaultKind::Syntax);
                    }
                    self.at += 2;
                    let low = self.hex4()?;
                    if !(0xDC00..0xE000).contains(&low) {
                        return self.fault(JsonFaultKind::Syntax);
                    }
                    0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00)
                } else {
                    high
                };
                match char::from_u32(code) {
                    Some(c) => c,
                    None => return self.fault(JsonFaultKind::Syntax),
                }
            }
            _ => return self.fault(JsonFaultKind::Syntax),
        };
        Ok(c)
    }

    fn hex4(&mut self) -> Result<u32, JsonFault> {
        let digits = self
            .text
            .get(self.at..self.at + 4)
            .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        match digits.and_then(|d| u32::from_str_radix(d, 16).ok()) {
            Some(code) => {
                self.at += 4;
                Ok(code)
            }
            None => self.fault(JsonFaultKind::Syntax),
        }
    }
}
