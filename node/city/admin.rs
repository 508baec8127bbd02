//! Who people and agencies are, and what is arranged between them: Patient, Organization, Location, Appointment, referral, Consent.

use record::AgencyKind;
use record::resident_id::RESIDENT_ID_SYSTEM;

use crate::agency::Agency;
use crate::chart::{
    Chart, by_credit_code, coding, concept, narrative, note, record, reference, status, worded,
};
use crate::draw::{Draw, Stream};
use crate::elder::Sex;
use crate::json::{Node, obj};
use crate::records::{Record, Type};
use crate::{CREDIT_CODE_SYSTEM, City, names, places};

/// Identifier system of the social security card, as HL7 China publishes it.
const SOCIAL_SECURITY_SYSTEM: &str = "urn:oid:2.16.840.1.113883.2.23.1.19.2";
const ETHNIC_GROUP: &str = "http://hl7.org.cn/fhir/StructureDefinition/ext-person-ethnicGroup";
const GENDER: &str = "http://hl7.org.cn/fhir/StructureDefinition/ext-person-gender";
/// National tables, named as their standards.
const GB_3304: &str = "http://hl7.org.cn/fhir/CodeSystem/gb3304";
const GB_2261_1: &str = "http://hl7.org.cn/fhir/CodeSystem/gb2261-1";
/// Marks a name written in ideographs (HL7 iso21090 extension).
const REPRESENTATION: &str = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation";
const CONTACT_ROLE: &str = "http://terminology.hl7.org/CodeSystem/v2-0131";
const ROLE_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-RoleCode";
const SNOMED: &str = "http://snomed.info/sct";

impl Chart<'_> {
    /// The `Patient` of this agency.
    pub(crate) fn profile(&mut self) {
        let elder = self.elder;
        let (male, gb_code, gb_name) = match elder.sex {
            Sex::Male => (true, "1", "男性"),
            Sex::Female => (false, "2", "女性"),
        };
        let mut identifiers = vec![obj! {
            "use": "official",
            "system": RESIDENT_ID_SYSTEM,
            "value": elder.resident_id.clone(),
        }];
        // The card's number is known to those who are paid through it.
        let card = elder.social_security.clone();
        if let Some(number) = card.filter(|_| self.agency.kind != AgencyKind::Community) {
            identifiers.push(obj! { "system": SOCIAL_SECURITY_SYSTEM, "value": number });
        }
        let county = self.city.counties().get(elder.county);
        let district = county.map_or("", |c| c.name);
        let city = self.city.city_name();
        let full = format!("{city}{district}{}", elder.street);
        let (group, group_name) = elder.ethnic_group;
        let telephone = |n: String| obj! { "system": "phone", "value": n, "use": "mobile" };
        let contact = &elder.contact;
        let relation = match (contact.relation_zh, male) {
            ("儿子", _) => coding(ROLE_CODE, "SON", "儿子"),
            ("女儿", _) => coding(ROLE_CODE, "DAU", "女儿"),
            (_, true) => coding(ROLE_CODE, "WIFE", "配偶"),
            (_, false) => coding(ROLE_CODE, "HUSB", "配偶"),
        };
        let mut roles = vec![obj! { "coding": [relation], "text": contact.relation_zh }];
        if contact.guardian {
            roles.push(obj! { "coding": [coding(ROLE_CODE, "GUARD", "监护人")], "text": "监护人" });
        }
        roles.push(concept(CONTACT_ROLE, "C", "Emergency Contact"));
        let body = obj! {
            "extension": [obj! {
                "url": ETHNIC_GROUP,
                "valueCodeableConcept": concept(GB_3304, group, group_name),
            }],
            "identifier": identifiers,
            "active": true,
            "name": [obj! {
                "extension": [obj! { "url": REPRESENTATION, "valueCode": "IDE" }],
                "use": "official",
                "text": self.name.clone(),
                "family": elder.family,
                "given": [Node::from(elder.given)],
            }],
            "telecom": elder.phone.clone().map(|n| Node::from([telephone(n)])),
            "gender": elder.sex.fhir_code(),
            "_gender": obj! { "extension": [obj! {
                "url": GENDER,
                "valueCodeableConcept": concept(GB_2261_1, gb_code, gb_name),
            }] },
            "birthDate": elder.birth_date.clone(),
            "address": [obj! {
                "use": "home",
                "text": full,
                "line": [Node::from(elder.street.clone())],
                "city": Some(city.to_owned()).filter(|c| !c.is_empty()),
                "district": district,
                "country": "CN",
            }],
            "contact": [obj! {
                "relationship": roles,
                "name": obj! { "text": contact.name.clone() },
                "telecom": [telephone(contact.phone.clone())],
            }],
            "communication": [obj! {
                "language": status("urn:ietf:bcp:47", "zh-CN"),
                "preferred": true,
            }],
            "managingOrganization": self.own_organisation(),
        };
        let when = self.moment_ago(30, 3 * 365);
        self.put_as(
            Type::Profile,
            "Patient",
            self.patient_id.clone(),
            when,
            body,
        );
    }

    /// An `Appointment` within the next month, now and then made by a relative.
    pub(crate) fn appointment(&mut self) {
        let department = self.draw.pick(&[
            "心血管内科",
            "内分泌科",
            "神经内科",
            "眼科",
            "老年医学科",
            "骨科",
        ]);
        let start = self
            .city
            .today()
            .plus(self.draw.range(1, 30))
            .at(self.draw.range(8, 16), 15 * self.draw.range(0, 3));
        let mut participants = vec![obj! { "actor": self.subject(), "status": "accepted" }];
        if self.draw.chance(400) {
            let contact = &self.elder.contact;
            let display = format!("{}（{}代约）", contact.name, contact.relation_zh);
            participants.push(obj! { "actor": obj! { "display": display }, "status": "accepted" });
        }
        let doctor = self.staff();
        participants.push(obj! { "actor": doctor, "status": "accepted" });
        let made = self.moment_ago(1, 14);
        let body = obj! {
            "status": "booked",
            "serviceType": [obj! { "text": department }],
            "description": format!("{department}复诊"),
            "start": start.iso(),
            "end": start.plus_minutes(15).iso(),
            "created": made.iso(),
            "participant": participants,
        };
        self.put(Type::Appointment, "Appointment", made, body);
    }

    /// A `ServiceRequest` that sends the elder to another hospital of the city, if there is one.
    pub(crate) fn referral(&mut self) {
        let hospitals: Vec<&Agency> = self
            .city
            .agencies()
            .iter()
            .filter(|a| a.kind == AgencyKind::Hospital && a.member != self.agency.member)
            .collect();
        let receiver = if hospitals.is_empty() {
            obj! { "display": "上级医院" }
        } else {
            by_credit_code(self.draw.pick(&hospitals))
        };
        let reason = self
            .elder
            .illnesses
            .first()
            .map_or("反复头晕", |i| i.name_zh);
        let when = self.moment_ago(1, 60);
        let text = format!("患者{}，{reason}，请会诊并协助调整治疗方案。", self.name);
        let body = obj! {
            "text": narrative(&text),
            "status": "active",
            "intent": "order",
            "category": [worded(SNOMED, "3457005", "Patient referral", "转诊")],
            "priority": "routine",
            "code": obj! { "text": "远程会诊" },
            "subject": self.subject(),
            "authoredOn": when.iso(),
            "requester": self.own_organisation(),
            "performer": [receiver],
            "reasonCode": [obj! { "text": reason }],
            "note": note(text),
        };
        self.put(Type::Referral, "ServiceRequest", when, body);
    }

    /// A FHIR `Consent`: mostly a permit, sometimes a refusal, given by the elder or the guardian.
    pub(crate) fn consent(&mut self) {
        const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
        const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";
        const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
        let permit = !self.draw.chance(120);
        let recipient = by_credit_code(self.draw.one_of(self.city.agencies()));
        let types: &[&'static str] = match self.draw.below(3) {
            0 => &["exam-report", "vitals"],
            1 => &["health-summary", "condition", "medication", "allergy"],
            _ => &["vitals", "alert", "care-assessment"],
        };
        let types: Vec<Node> = types
            .iter()
            .map(|code| obj! { "system": "urn:songhe:record-type", "code": *code })
            .collect();
        let purpose = self.draw.pick(&["TREAT", "CAREMGT", "ELIGDTRM"]);
        let given_on = self.day_ago(1, 200);
        let when = given_on.at(self.draw.range(9, 16), self.draw.range(0, 59));
        let guardian = self.elder.contact.guardian;
        let performer = if guardian {
            obj! { "display": format!("{}（监护人）", self.elder.contact.name) }
        } else {
            self.subject()
        };
        let body = obj! {
            "status": "active",
            "scope": status("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy"),
            "category": [concept("http://loinc.org", "59284-0", "Consent Document")],
            "patient": self.subject(),
            "dateTime": when.iso(),
            "performer": [performer],
            "organization": [self.own_organisation()],
            "policyRule": status(ACT_CODE, if permit { "OPTIN" } else { "OPTOUT" }),
            "provision": obj! {
                "type": if permit { "permit" } else { "deny" },
                "period": obj! {
                    "start": when.iso(),
                    "end": given_on.plus(self.draw.range(210, 730)).at(0, 0).iso(),
                },
                "actor": [obj! {
                    "role": status(PARTICIPATION, "IRCP"),
                    "reference": recipient,
                }],
                "purpose": [obj! { "system": ACT_REASON, "code": purpose }],
                "class": types,
            },
        };
        self.put(Type::Consent, "Consent", when, body);
    }
}

/// What an agency publishes about itself: `Organization` (its member id is the resource id) and `Location`.
pub(crate) fn facility(city: &City, place: usize) -> Vec<Record> {
    let Some(agency) = city.agencies().get(place) else {
        return Vec::new();
    };
    let number = u32::try_from(place).unwrap_or(u32::MAX);
    let mut draw = Draw::new(city.plan().seed, Stream::Facility, number, 0);
    let (type_code, type_zh, text) = match agency.kind {
        AgencyKind::Hospital => ("prov", "医疗机构", "门诊、住院、急诊、医养结合服务。"),
        AgencyKind::CivilAffairs => ("govt", "民政部门", "高龄津贴、养老服务补贴、能力评估受理。"),
        AgencyKind::Community => (
            "other",
            "社区养老服务机构",
            "助餐、助浴、助洁、助急、助医、助行。",
        ),
    };
    let telephone = format!("8{:07}", draw.below(10_000_000));
    let telecom =
        || Node::from([obj! { "system": "phone", "value": telephone.clone(), "use": "work" }]);
    let county = city.counties().iter().find(|c| c.code == agency.district);
    let street = format!("{}{}号", draw.pick(&places::STREETS), draw.range(1, 288));
    let address = obj! {
        "use": "work",
        "line": [Node::from(street)],
        "city": Some(city.city_name().to_owned()).filter(|c| !c.is_empty()),
        "district": county.map(|c| c.name),
        "country": "CN",
    };
    let (north, east) = places::centre(agency.district);
    let mut near = |middle: i32| i64::from(middle + draw.range(-5_000, 5_000));
    let position = obj! {
        "longitude": Node::Decimal(near(east), 5),
        "latitude": Node::Decimal(near(north), 5),
    };
    let identifier = || {
        Node::from([obj! {
            "use": "official",
            "system": CREDIT_CODE_SYSTEM,
            "value": agency.credit_code.as_str().to_owned(),
        }])
    };
    let entered = city.today().plus(-draw.range(30, 900)).at(10, 0);
    let organisation = obj! {
        "text": narrative(&format!("{}：{text}", agency.name_zh)),
        "identifier": identifier(),
        "active": true,
        "type": [worded(
            "http://terminology.hl7.org/CodeSystem/organization-type", type_code, type_zh, type_zh,
        )],
        "name": agency.name_zh.clone(),
        "alias": [Node::from(agency.name_en.clone())],
        "telecom": telecom(),
        "address": [address.clone()],
        "contact": [obj! {
            "name": obj! { "text": names::staff(&mut draw, "主任") },
            "telecom": telecom(),
        }],
    };
    let id = agency.member.as_str().to_owned();
    let location = obj! {
        "identifier": identifier(),
        "status": "active",
        "name": agency.name_zh.clone(),
        "description": text,
        "mode": "instance",
        "telecom": telecom(),
        "address": address,
        "position": position,
        "managingOrganization": reference(format!("Organization/{id}")),
    };
    [
        ("Organization", id.clone(), organisation),
        ("Location", format!("place-{id}"), location),
    ]
    .into_iter()
    .filter_map(|(resource, id, body)| {
        record(city, agency, Type::Facility, resource, id, entered, body)
    })
    .collect()
}
