//! JSON as a tree with the keys in the order they were written: the bytes depend on nothing but the values.

use std::borrow::Cow;

/// One value. Numbers are whole or decimal, never binary fractions, so that every machine writes the same digits.
#[derive(Clone)]
pub(crate) enum Node {
    /// Left out of objects: an element that is absent.
    Absent,
    Text(Cow<'static, str>),
    Whole(i64),
    /// `units` / 10^`scale`: (365, 1) is 36.5.
    Decimal(i64, usize),
    Bool(bool),
    List(Vec<Self>),
    Object(Vec<(&'static str, Self)>),
}

/// An object: `obj! { "key": value, … }`; absent values and empty lists are left out, as FHIR wants it.
macro_rules! obj {
    ($($key:literal : $value:expr),* $(,)?) => {
        $crate::json::Node::Object(vec![$(($key, $crate::json::Node::from($value))),*])
    };
}
pub(crate) use obj;

impl Node {
    /// Appends the value to `out`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Absent => out.extend_from_slice(b"null"),
            Self::Text(text) => write_text(text, out),
            Self::Whole(n) => out.extend_from_slice(n.to_string().as_bytes()),
            Self::Decimal(units, scale) => write_decimal(*units, *scale, out),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::List(items) => {
                out.push(b'[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    item.write(out);
                }
                out.push(b']');
            }
            Self::Object(members) => {
                out.push(b'{');
                let mut first = true;
                for (key, value) in members {
                    if value.is_absent() {
                        continue;
                    }
                    if !first {
                        out.push(b',');
                    }
                    first = false;
                    write_text(key, out);
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
        }
    }

    fn is_absent(&self) -> bool {
        match self {
            Self::Absent => true,
            Self::List(items) => items.is_empty(),
            Self::Text(_)
            | Self::Whole(_)
            | Self::Decimal(..)
            | Self::Bool(_)
            | Self::Object(_) => false,
        }
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for b in text.bytes() {
        match b {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0..=0x1f => out.extend_from_slice(format!("\\u{b:04x}").as_bytes()),
            _ => out.push(b),
        }
    }
    out.push(b'"');
}

fn write_decimal(units: i64, scale: usize, out: &mut Vec<u8>) {
    if units < 0 {
        out.push(b'-');
    }
    let digits = format!("{:0width$}", units.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    out.extend_from_slice(whole.as_bytes());
    if scale > 0 {
        out.push(b'.');
        out.extend_from_slice(fraction.as_bytes());
    }
}

impl From<&'static str> for Node {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Node {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<bool> for Node {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i32> for Node {
    fn from(value: i32) -> Self {
        Self::Whole(value.into())
    }
}

impl From<Vec<Self>> for Node {
    fn from(items: Vec<Self>) -> Self {
        Self::List(items)
    }
}

impl<const N: usize> From<[Self; N]> for Node {
    fn from(items: [Self; N]) -> Self {
        Self::List(items.into())
    }
}

impl<T: Into<Self>> From<Option<T>> for Node {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(node: &Node) -> String {
        let mut out = Vec::new();
        node.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn keeps_order_and_leaves_out_what_is_absent() {
        let node = obj! {
            "z": 1, "a": [Node::from("x"), Node::from(true)],
            "none": None::<String>, "empty": Vec::<Node>::new(), "b": Node::Decimal(-5, 2),
        };
        assert_eq!(text(&node), r#"{"z":1,"a":["x",true],"b":-0.05}"#);
    }

    #[test]
    fn decimals_are_exact() {
        for (units, scale, expected) in [
            (365, 1, "36.5"),
            (5, 3, "0.005"),
            (-1234, 2, "-12.34"),
            (7, 0, "7"),
            (0, 1, "0.0"),
        ] {
            assert_eq!(text(&Node::Decimal(units, scale)), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_back_by_another_parser(t in "\\PC{0,20}[\\x00-\\x20\"\\\\]{0,4}") {
            let written = text(&Node::from(t.clone()));
            proptest::prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), t);
        }
    }
}
