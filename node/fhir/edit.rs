//! Writing a resource with elements left out: everything kept is copied from the original text as it stands there.

use std::borrow::Cow;

use crate::json::{Kind, Member, Value};
use crate::tables::{self, Cardinality, Element};

/// What a required element becomes when it is left out (FHIR R4 extension data-absent-reason, code `masked`).
const ABSENT: &str = r#""extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"masked"}]"#;
/// Required elements inside required elements: R4 has three levels of them at most.
const ABSENT_DEPTH: usize = 4;
/// Marks a resource as incomplete, so that nobody takes it for a new version (R4, `meta.tag`).
const SUBSETTED: &str =
    r#"{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}"#;

/// Where an element stands.
pub(crate) struct Place<'p> {
    /// The resource it belongs to; a contained resource is a resource of its own.
    pub(crate) resource: &'p str,
    /// Element names from the resource down, the element itself last.
    pub(crate) path: &'p [&'p str],
    /// What the R4 table says of it; `None` when it does not know the element.
    pub(crate) element: Option<&'p Element>,
    /// The object it is in.
    pub(crate) parent: &'p Value<'p>,
    /// The type of that object.
    pub(crate) parent_type: &'p str,
}

/// What to leave out and what to change.
pub(crate) trait Edit {
    /// Whether this element goes, with everything in it.
    fn drops(&self, place: &Place<'_>, value: &Value<'_>) -> bool;
    /// Whether this one value (an array's item, too) goes.
    fn drops_value(&self, value: &Value<'_>) -> bool;
    /// Whether a contained resource goes as a whole.
    fn drops_contained(&self, resource_type: &str) -> bool;
    /// Another text in place of this string.
    fn rewrites(&self, text: &str) -> Option<String>;
    /// Whether extensions go, so that a `null` no longer holds the place of one.
    fn drops_extensions(&self) -> bool;
    /// Whether the result is marked as incomplete.
    fn marks_subsetted(&self) -> bool;
}

/// Writes `resource` as `edit` wants it.
pub(crate) fn write(text: &str, resource: &Value<'_>, edit: &dyn Edit) -> String {
    let mut writer = Writer {
        text,
        edit,
        out: String::with_capacity(text.len()),
    };
    let name = resource.text("resourceType").unwrap_or_default();
    writer.object(resource, name, name, &mut Vec::new(), true);
    writer.out
}

struct Writer<'e> {
    text: &'e str,
    edit: &'e dyn Edit,
    out: String,
}

impl<'e> Writer<'e> {
    /// Writes an object; `false` (and nothing written) when nothing of it was left.
    fn object<'v>(
        &mut self,
        object: &'v Value<'v>,
        type_name: &str,
        resource: &str,
        path: &mut Vec<&'v str>,
        root: bool,
    ) -> bool {
        let start = self.out.len();
        self.out.push('{');
        let mut kept: Vec<&str> = Vec::new();
        for member in object.members() {
            let mark = self.out.len();
            if self.member(object, member, type_name, resource, path, root) {
                kept.push(&member.key);
            } else {
                self.out.truncate(mark);
            }
        }
        if kept.is_empty() && !object.members().is_empty() && !root {
            self.out.truncate(start);
            return false;
        }
        for (key, element) in tables::required(type_name) {
            let twin = format!("_{key}");
            let had = object.get(key).is_some() || object.get(&twin).is_some();
            if had && !kept.iter().any(|k| *k == key || *k == twin) {
                self.comma();
                self.out.push_str(&absent(key, &element, ABSENT_DEPTH));
            }
        }
        if root && self.edit.marks_subsetted() && !kept.contains(&"meta") {
            self.comma();
            self.out
                .push_str(&format!("\"meta\":{{\"tag\":[{SUBSETTED}]}}"));
        }
        self.out.push('}');
        true
    }

    fn comma(&mut self) {
        if !self.out.ends_with(['{', '[', ',']) {
            self.out.push(',');
        }
    }

    fn member<'v>(
        &mut self,
        object: &'v Value<'v>,
        member: &'v Member<'v>,
        type_name: &str,
        resource: &str,
        path: &mut Vec<&'v str>,
        root: bool,
    ) -> bool {
        let key: &'v str = &member.key;
        self.comma();
        let shown = self
            .edit
            .rewrites(key)
            .map_or(Cow::Borrowed(key), Cow::Owned);
        self.out.push_str(&quoted(&shown));
        self.out.push(':');
        if key == "contained" && path.is_empty() {
            return self.contained(&member.value);
        }
        let plain = key.strip_prefix('_').unwrap_or(key);
        let element = tables::element(type_name, plain);
        path.push(plain);
        let place = Place {
            resource,
            path,
            element: element.as_ref(),
            parent: object,
            parent_type: type_name,
        };
        let dropped = key != "resourceType"
            && (self.edit.drops(&place, &member.value)
                || (key != plain
                    && self.edit.drops(
                        &Place {
                            path: &["extension"],
                            ..place
                        },
                        &member.value,
                    )));
        // The twin of a primitive is an element of its own: an id and extensions.
        let inner = match element {
            _ if key != plain => "BackboneElement",
            Some(e) => e.type_name,
            None => "",
        };
        let nulls_stay = !self.edit.drops_extensions();
        let written = !dropped
            && if root && key == "meta" && self.edit.marks_subsetted() {
                self.meta(&member.value, resource, path)
            } else {
                self.value(&member.value, inner, resource, path, nulls_stay)
            };
        path.pop();
        written
    }

    fn value<'v>(
        &mut self,
        value: &'v Value<'v>,
        type_name: &str,
        resource: &str,
        path: &mut Vec<&'v str>,
        nulls_stay: bool,
    ) -> bool {
        if self.edit.drops_value(value) {
            return false;
        }
        match &value.kind {
            Kind::Object(_) => self.object(value, type_name, resource, path, false),
            Kind::Array(items) => {
                let start = self.out.len();
                self.out.push('[');
                let mut written = items.is_empty();
                for item in items {
                    let mark = self.out.len();
                    self.comma();
                    // A null holds the place of an extension; when extensions are gone it holds nothing.
                    let gone = matches!(item.kind, Kind::Null) && !nulls_stay;
                    if !gone && self.value(item, type_name, resource, path, nulls_stay) {
                        written = true;
                    } else {
                        self.out.truncate(mark);
                    }
                }
                if written {
                    self.out.push(']');
                } else {
                    self.out.truncate(start);
                }
                written
            }
            Kind::String(text) => {
                match self.edit.rewrites(text) {
                    Some(changed) => self.out.push_str(&quoted(&changed)),
                    None => self.raw(value),
                }
                true
            }
            Kind::Null | Kind::Bool(_) | Kind::Number(_) => {
                self.raw(value);
                true
            }
        }
    }

    fn contained(&mut self, list: &Value<'_>) -> bool {
        let start = self.out.len();
        self.out.push('[');
        for item in list.items() {
            let name = item.text("resourceType").unwrap_or_default();
            if self.edit.drops_contained(name) {
                continue;
            }
            self.comma();
            self.object(item, name, name, &mut Vec::new(), false);
        }
        if self.out.ends_with('[') {
            self.out.truncate(start);
            return false;
        }
        self.out.push(']');
        true
    }

    /// `meta` with the mark of an incomplete resource among its tags.
    fn meta<'v>(&mut self, meta: &'v Value<'v>, resource: &str, path: &mut Vec<&'v str>) -> bool {
        let start = self.out.len();
        if !self.object(meta, "Meta", resource, path, false) {
            return false;
        }
        let marked = meta
            .each("tag")
            .iter()
            .any(|t| t.text("code") == Some("SUBSETTED"));
        if marked {
            return true;
        }
        // Quotes inside strings are escaped, so this can only be the key.
        let key = r#""tag":["#;
        let written = self.out.get(start..).and_then(|own| own.find(key));
        match written {
            Some(at) => self
                .out
                .insert_str(start + at + key.len(), &format!("{SUBSETTED},")),
            None => {
                self.out.pop();
                self.comma();
                self.out.push_str(&format!("\"tag\":[{SUBSETTED}]}}"));
            }
        }
        true
    }

    fn raw(&mut self, value: &Value<'_>) {
        let text: &'e str = self.text;
        self.out
            .push_str(text.get(value.span.clone()).unwrap_or("null"));
    }
}

/// A required element that was left out, with what is required inside it, each marked as masked.
fn absent(key: &str, element: &Element, depth: usize) -> String {
    let mark = if element.is_primitive() { "_" } else { "" };
    let mut inner = ABSENT.to_owned();
    if depth > 0 && !element.is_primitive() {
        let mut required: Vec<_> = tables::required(element.type_name)
            .filter(|(_, e)| e.cardinality != Cardinality::RequiredChoice)
            .collect();
        required.sort_by_key(|(key, _)| *key);
        for (key, element) in required {
            inner.push(',');
            inner.push_str(&absent(key, &element, depth - 1));
        }
    }
    match element.cardinality {
        Cardinality::List | Cardinality::RequiredList => format!("\"{mark}{key}\":[{{{inner}}}]"),
        Cardinality::Optional | Cardinality::Required | Cardinality::RequiredChoice => {
            format!("\"{mark}{key}\":{{{inner}}}")
        }
    }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
