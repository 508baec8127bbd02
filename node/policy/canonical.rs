//! JSON in one way of writing only, and the SHA-256 digests that tie a bundle together.

use std::collections::BTreeMap;

use record::id::hex_encode;
use ring::digest::{Context, SHA256};
use serde_json::Value;

/// JSON with sorted keys and no blanks; `None` if there is a number that is not whole, which tools print
/// differently. Depth is bounded by the reader of the value (128).
pub(crate) fn to_canonical(value: &Value) -> Option<String> {
    let mut out = String::new();
    write_canonical(value, &mut out)?;
    Some(out)
}

/// SHA-256 over the parts, one after the other.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut digest = [0_u8; 32];
    for (slot, byte) in digest.iter_mut().zip(context.finish().as_ref()) {
        *slot = *byte;
    }
    digest
}

/// SHA-256 as lower-case hexadecimal text.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex_encode(&sha256(&[bytes]))
}

fn write_canonical(value: &Value, out: &mut String) -> Option<()> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) if n.is_i64() || n.is_u64() => out.push_str(&n.to_string()),
        Value::Number(_) => return None,
        Value::String(s) => write_string(s, out),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_canonical(item, out)?;
            }
            out.push(']');
        }
        Value::Object(map) => {
            // Sorted here, whatever order the map type of this build has.
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            out.push('{');
            for (i, (key, item)) in sorted.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_string(key, out);
                out.push(':');
                write_canonical(item, out)?;
            }
            out.push('}');
        }
    }
    Some(())
}

fn write_string(text: &str, out: &mut String) {
    out.push_str(&Value::from(text).to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_json_is_sorted_and_whole() {
        let value = serde_json::json!({"b": [1, -2, true, null], "a": {"松": "鹤\"\n"}});
        assert_eq!(
            to_canonical(&value).unwrap(),
            r#"{"a":{"松":"鹤\"\n"},"b":[1,-2,true,null]}"#
        );
        assert!(to_canonical(&serde_json::json!([1.5])).is_none());
    }

    #[test]
    fn digests_are_those_of_the_standard() {
        // FIPS 180-4, the one-block example.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex(b"abc"), abc);
        assert_eq!(hex_encode(&sha256(&[b"a", b"bc"])), abc);
    }
}
