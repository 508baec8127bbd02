//! What a hospital knows of an elder's illnesses: Condition, MedicationRequest, AllergyIntolerance, Encounter, Composition.

use crate::chart::{Chart, LOINC, coding, concept, narrative, note, quantity, reference, status};
use crate::illness::Illness;
use crate::json::{Node, obj};
use crate::records::Type;

const ICD_10: &str = "http://hl7.org/fhir/sid/icd-10";
const ATC: &str = "http://www.whocc.no/atc";
const SNOMED: &str = "http://snomed.info/sct";

/// Substances elders are allergic to: SNOMED code, name, category, reaction.
const SUBSTANCES: [(&str, &str, &str, &str); 6] = [
    ("764146007", "青霉素", "medication", "皮疹"),
    ("387406002", "磺胺类药物", "medication", "荨麻疹"),
    ("387458008", "阿司匹林", "medication", "支气管痉挛"),
    ("44027008", "海鲜", "food", "口唇肿胀"),
    ("256277009", "草花粉", "environment", "鼻炎"),
    ("90614001", "碘造影剂", "medication", "恶心、面色潮红"),
];

impl Chart<'_> {
    /// One `Condition` per illness, each known here `per_mille` times of a thousand; returns references.
    pub(crate) fn conditions(&mut self, per_mille: u32) -> Vec<(&'static Illness, String)> {
        const CLINICAL: &str = "http://terminology.hl7.org/CodeSystem/condition-clinical";
        const VERIFIED: &str = "http://terminology.hl7.org/CodeSystem/condition-ver-status";
        const CATEGORY: &str = "http://terminology.hl7.org/CodeSystem/condition-category";
        let mut known = Vec::new();
        for illness in &self.elder.illnesses {
            if !self.draw.chance(per_mille) {
                continue;
            }
            let age_then = i32::from(self.elder.age_years) - self.draw.range(1, 12);
            let since = self.day_ago(30, 10 * 365);
            let recorded = self.moment_ago(10, 29);
            let remark = self.draw.chance(250).then(|| {
                note(format!(
                    "{}老人{age_then}岁前后确诊{}，家属{}知情。",
                    self.name, illness.name_zh, self.elder.contact.name
                ))
            });
            let body = obj! {
                "clinicalStatus": status(CLINICAL, "active"),
                "verificationStatus": status(VERIFIED, "confirmed"),
                "category": [concept(CATEGORY, "problem-list-item", "Problem List Item")],
                "code": obj! {
                    "coding": [coding(ICD_10, illness.icd10, illness.name_zh)],
                    "text": illness.name_zh,
                },
                "subject": self.subject(),
                "onsetDateTime": since.iso(),
                "recordedDate": recorded.iso(),
                "recorder": self.staff(),
                "note": remark,
            };
            let reference = self.put(Type::Condition, "Condition", recorded, body);
            known.push((*illness, reference));
        }
        known
    }

    /// `MedicationRequest`s for the illnesses: the first medicine of each, and others now and then.
    pub(crate) fn medications(&mut self) -> Vec<(&'static str, String)> {
        let mut taken = Vec::new();
        for illness in &self.elder.illnesses {
            for (nth, medicine) in illness.medicines.iter().enumerate() {
                if !self.draw.chance(if nth == 0 { 850 } else { 350 }) {
                    continue;
                }
                let when = self.moment_ago(1, 90);
                let amount = medicine.dose_tenths;
                let dose = if amount % 10 == 0 {
                    quantity(amount / 10, 0, medicine.unit)
                } else {
                    quantity(amount, 1, medicine.unit)
                };
                let times = medicine.times_a_day;
                let body = obj! {
                    "status": "active",
                    "intent": "order",
                    "medicationCodeableConcept": obj! {
                        "coding": [coding(ATC, medicine.atc, medicine.name_zh)],
                        "text": medicine.name_zh,
                    },
                    "subject": self.subject(),
                    "authoredOn": when.iso(),
                    "requester": self.staff(),
                    "reasonCode": [concept(ICD_10, illness.icd10, illness.name_zh)],
                    "dosageInstruction": [obj! {
                        "text": format!("每日{times}次，饭后服用"),
                        "timing": obj! { "repeat": obj! {
                            "frequency": times, "period": 1, "periodUnit": "d",
                        } },
                        "doseAndRate": [obj! { "doseQuantity": dose }],
                    }],
                };
                let reference = self.put(Type::Medication, "MedicationRequest", when, body);
                taken.push((medicine.name_zh, reference));
            }
        }
        taken
    }

    /// An `AllergyIntolerance`, or the statement that none is known.
    pub(crate) fn allergy(&mut self) -> String {
        const CLINICAL: &str = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical";
        const VERIFIED: &str =
            "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification";
        let when = self.moment_ago(30, 900);
        let body = if self.draw.chance(250) {
            let (code, name, category, reaction) = self.draw.pick(&SUBSTANCES);
            let severity = self.draw.pick(&["mild", "moderate", "severe"]);
            obj! {
                "clinicalStatus": status(CLINICAL, "active"),
                "verificationStatus": status(VERIFIED, "confirmed"),
                "type": "allergy",
                "category": [Node::from(category)],
                "criticality": if severity == "severe" { "high" } else { "low" },
                "code": obj! { "coding": [coding(SNOMED, code, name)], "text": name },
                "patient": self.subject(),
                "recordedDate": when.iso(),
                "reaction": [obj! {
                    "manifestation": [obj! { "text": reaction }],
                    "severity": severity,
                }],
            }
        } else {
            obj! {
                "clinicalStatus": status(CLINICAL, "active"),
                "verificationStatus": status(VERIFIED, "confirmed"),
                "code": obj! {
                    "coding": [coding(SNOMED, "716186003", "No known allergy")],
                    "text": "否认过敏史",
                },
                "patient": self.subject(),
                "recordedDate": when.iso(),
            }
        };
        self.put(Type::Allergy, "AllergyIntolerance", when, body)
    }

    /// An `Encounter`; with `told`, in sentences that name the elder, as ward notes do.
    pub(crate) fn encounter(&mut self, told: bool) {
        const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
        let (class, class_zh, minutes) = match self.draw.below(10) {
            0..7 => ("AMB", "门诊", self.draw.range(10, 40)),
            7 => ("EMER", "急诊", self.draw.range(60, 600)),
            _ => ("IMP", "住院", self.draw.range(3, 14) * 24 * 60),
        };
        let start = self.moment_ago(16, 400);
        let end = start.plus_minutes(minutes);
        let reason = self.elder.illnesses.first().copied();
        let text = told.then(|| {
            let complaint = self.draw.pick(&[
                "反复头晕1周",
                "活动后胸闷3天",
                "咳嗽咳痰伴气促",
                "双膝疼痛加重",
                "血糖控制不佳",
                "睡眠差、乏力",
            ]);
            let mut text = format!(
                "{}，{}，{}岁，因“{complaint}”{class_zh}就诊，由{}{}陪同。",
                self.name,
                if self.elder.sex.fhir_code() == "male" {
                    "男"
                } else {
                    "女"
                },
                self.elder.age_years,
                self.elder.contact.relation_zh,
                self.elder.contact.name
            );
            // Now and then a clerk types the number into the notes: what a search of free text must find.
            if self.draw.chance(60) {
                text.push_str(&format!("身份证号{}。", self.elder.resident_id));
            }
            narrative(&text)
        });
        let body = obj! {
            "text": text,
            "status": "finished",
            "class": coding(ACT_CODE, class, class_zh),
            "subject": self.subject(),
            "period": obj! { "start": start.iso(), "end": end.iso() },
            "reasonCode": reason.map(|i| Node::from([concept(ICD_10, i.icd10, i.name_zh)])),
            "serviceProvider": self.own_organisation(),
        };
        self.put(Type::Encounter, "Encounter", end, body);
    }

    /// The health record's summary, a `Composition` of problems, medicines and allergies. Sensitive diagnoses stay out.
    pub(crate) fn health_summary(
        &mut self,
        conditions: &[(&'static Illness, String)],
        medicines: &[(&'static str, String)],
        allergy: &str,
    ) {
        let when = self.moment_ago(1, 9);
        let shown = conditions.iter().filter(|(i, _)| !i.sensitive);
        let problems: Vec<&str> = shown.clone().map(|(i, _)| i.name_zh).collect();
        let entries = |refs: Vec<&String>| -> Vec<Node> {
            refs.into_iter().map(|r| reference(r.clone())).collect()
        };
        let listed = |names: &[&str]| {
            if names.is_empty() {
                "无".to_owned()
            } else {
                names.join("、")
            }
        };
        let section = |title: &'static str, code: &'static str, text: &str, entries: Vec<Node>| {
            obj! {
                "title": title,
                "code": concept(LOINC, code, title),
                "text": narrative(text),
                "entry": entries,
            }
        };
        let common: Vec<&(&'static str, String)> = medicines
            .iter()
            .filter(|(name, _)| {
                !self
                    .elder
                    .illnesses
                    .iter()
                    .any(|i| i.sensitive && i.medicines.iter().any(|m| m.name_zh == *name))
            })
            .collect();
        let medicine_names: Vec<&str> = common.iter().map(|(name, _)| *name).collect();
        let text = format!(
            "{}，{}岁，现患：{}。",
            self.name,
            self.elder.age_years,
            listed(&problems)
        );
        let sections = vec![
            section(
                "健康问题",
                "11450-4",
                &text,
                entries(shown.map(|(_, r)| r).collect()),
            ),
            section(
                "用药",
                "10160-0",
                &listed(&medicine_names),
                entries(common.into_iter().map(|(_, r)| r).collect()),
            ),
            section(
                "过敏",
                "48765-2",
                "见过敏记录。",
                vec![reference(allergy.to_owned())],
            ),
        ];
        let body = obj! {
            "text": narrative(&text),
            "status": "final",
            "type": concept(LOINC, "60591-5", "Patient summary Document"),
            "subject": self.subject(),
            "date": when.iso(),
            "author": [self.staff()],
            "title": "居民健康档案摘要",
            "custodian": self.own_organisation(),
            "section": sections,
        };
        self.put(Type::HealthSummary, "Composition", when, body);
    }
}
