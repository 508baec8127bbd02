//! One elder's chart at one agency: the common parts of FHIR resources, written once.

use record::AgencyKind;

use crate::agency::Agency;
use crate::calendar::{Day, Moment};
use crate::draw::{Draw, Stream};
use crate::elder::Elder;
use crate::json::{Node, obj};
use crate::records::{Record, Type};
use crate::{CREDIT_CODE_SYSTEM, City};

pub(crate) const LOINC: &str = "http://loinc.org";
pub(crate) const UCUM: &str = "http://unitsofmeasure.org";
pub(crate) const OBSERVATION_CATEGORY: &str =
    "http://terminology.hl7.org/CodeSystem/observation-category";

/// Collects the records of one elder at one agency.
pub(crate) struct Chart<'c> {
    pub(crate) city: &'c City,
    pub(crate) elder: &'c Elder,
    pub(crate) agency: &'c Agency,
    pub(crate) draw: Draw,
    pub(crate) name: String,
    pub(crate) patient_id: String,
    records: Vec<Record>,
}

impl<'c> Chart<'c> {
    /// An empty chart; `place` is the agency's place in the city.
    pub(crate) fn new(city: &'c City, elder: &'c Elder, place: usize) -> Option<Self> {
        let agency = city.agencies().get(place)?;
        let number = u32::try_from(place).ok()?;
        Some(Self {
            city,
            elder,
            agency,
            draw: Draw::new(city.plan().seed, Stream::Records, number, elder.index),
            name: elder.name(),
            patient_id: city.patient_id(place, elder.index),
            records: Vec::with_capacity(32),
        })
    }

    pub(crate) fn into_records(self) -> Vec<Record> {
        self.records
    }

    /// Adds a resource with a new id, entered at `when`; returns the reference to it, `Type/id`.
    pub(crate) fn put(
        &mut self,
        kind: Type,
        resource: &'static str,
        when: Moment,
        body: Node,
    ) -> String {
        let id = self.draw.hex16();
        self.put_as(kind, resource, id, when, body)
    }

    /// As [`Self::put`], with this id.
    pub(crate) fn put_as(
        &mut self,
        kind: Type,
        resource: &'static str,
        id: String,
        when: Moment,
        body: Node,
    ) -> String {
        let reference = format!("{resource}/{id}");
        let entered = when.plus_minutes(self.draw.range(1, 20));
        if let Some(record) = record(self.city, self.agency, kind, resource, id, entered, body) {
            self.records.push(record);
        }
        reference
    }

    /// `{"reference": "Patient/<id>"}`.
    pub(crate) fn subject(&self) -> Node {
        reference(format!("Patient/{}", self.patient_id))
    }

    /// This agency as a reference with its name.
    pub(crate) fn own_organisation(&self) -> Node {
        obj! {
            "reference": format!("Organization/{}", self.agency.member),
            "display": self.agency.name_zh.clone(),
        }
    }

    /// A staff member of this agency.
    pub(crate) fn staff(&mut self) -> Node {
        let title = match self.agency.kind {
            AgencyKind::Hospital => "医师",
            AgencyKind::CivilAffairs => "科员",
            AgencyKind::Community => "护理员",
        };
        let name = crate::names::staff(&mut self.draw, title);
        obj! { "display": name }
    }

    /// A day from `nearest` to `farthest` days before the city's day.
    pub(crate) fn day_ago(&mut self, nearest: i32, farthest: i32) -> Day {
        self.city.today().plus(-self.draw.range(nearest, farthest))
    }

    /// A moment of office hours, from `nearest` (at least 1) to `farthest` days ago.
    pub(crate) fn moment_ago(&mut self, nearest: i32, farthest: i32) -> Moment {
        let day = self.day_ago(nearest.max(1), farthest);
        day.at(self.draw.range(8, 17), self.draw.range(0, 59))
    }
}

/// Finishes a resource: type, id and meta before the body.
pub(crate) fn record(
    city: &City,
    agency: &Agency,
    kind: Type,
    resource: &'static str,
    id: String,
    entered: Moment,
    body: Node,
) -> Option<Record> {
    let Node::Object(body) = body else {
        return None;
    };
    let mut members = vec![
        ("resourceType", Node::from(resource)),
        ("id", Node::from(id)),
        (
            "meta",
            obj! { "versionId": "1", "lastUpdated": entered.iso() },
        ),
    ];
    members.extend(body);
    let mut fhir_json = Vec::with_capacity(1024);
    Node::Object(members).write(&mut fhir_json);
    Some(Record {
        holder: agency.member.clone(),
        type_code: city.codes.get(kind as usize)?.clone(),
        resource_type: resource,
        fhir_json,
    })
}

/// A reference to a resource of the same agency.
pub(crate) fn reference(to: String) -> Node {
    obj! { "reference": to }
}

/// Another agency, named by its credit code, as agencies do not know each other's resource ids.
pub(crate) fn by_credit_code(agency: &Agency) -> Node {
    obj! {
        "type": "Organization",
        "identifier": obj! { "system": CREDIT_CODE_SYSTEM, "value": agency.credit_code.as_str().to_owned() },
        "display": agency.name_zh.clone(),
    }
}

/// A coding.
pub(crate) fn coding(system: &'static str, code: &'static str, display: &'static str) -> Node {
    obj! { "system": system, "code": code, "display": display }
}

/// A concept of one coding.
pub(crate) fn concept(system: &'static str, code: &'static str, display: &'static str) -> Node {
    obj! { "coding": [coding(system, code, display)] }
}

/// A concept of one coding without a display, for the code systems of FHIR itself.
pub(crate) fn status(system: &'static str, code: &'static str) -> Node {
    obj! { "coding": [obj! { "system": system, "code": code }] }
}

/// A concept of one coding with its text in Chinese.
pub(crate) fn worded(
    system: &'static str,
    code: &'static str,
    display: &'static str,
    text: &'static str,
) -> Node {
    obj! { "coding": [coding(system, code, display)], "text": text }
}

/// A UCUM quantity of `units` / 10^`scale`.
pub(crate) fn quantity(units: i64, scale: usize, unit: &'static str) -> Node {
    let value = if scale == 0 {
        Node::Whole(units)
    } else {
        Node::Decimal(units, scale)
    };
    obj! { "value": value, "unit": unit, "system": UCUM, "code": unit }
}

/// A generated narrative of plain sentences; `<`, `>` and `&` never occur in them.
pub(crate) fn narrative(sentences: &str) -> Node {
    obj! {
        "status": "generated",
        "div": format!("<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>{sentences}</p></div>"),
    }
}

/// A list of one annotation.
pub(crate) fn note(text: String) -> Node {
    Node::from([obj! { "text": text }])
}
