//! Examinations: DiagnosticReports of laboratory and imaging with their Observations, marked for mutual recognition.

use crate::calendar::Moment;
use crate::chart::{
    Chart, LOINC, OBSERVATION_CATEGORY, coding, quantity, reference, status, worded,
};
use crate::illness::{COPD, CORONARY, DEMENTIA, DIABETES, STROKE};
use crate::json::{Node, obj};
use crate::records::Type;

const DIAGNOSTIC_SERVICE: &str = "http://terminology.hl7.org/CodeSystem/v2-0074";
const INTERPRETATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation";
/// Says within which area a result may be taken over by other hospitals, and until when.
const MUTUAL_RECOGNITION: &str = "urn:songhe:extension:mutual-recognition";

/// A laboratory item: LOINC, names, UCUM unit, decimals, reference range, and the days it may be taken over.
struct Item {
    loinc: &'static str,
    en: &'static str,
    zh: &'static str,
    unit: &'static str,
    scale: usize,
    low: i32,
    high: i32,
    days: i32,
}

const fn item(
    loinc: &'static str,
    en: &'static str,
    zh: &'static str,
    unit: &'static str,
    scale: usize,
    (low, high): (i32, i32),
    days: i32,
) -> Item {
    Item {
        loinc,
        en,
        zh,
        unit,
        scale,
        low,
        high,
        days,
    }
}

/// Days as local lists give them (Hubei: protein, glucose, lipids, ALT 30, HbA1c 60, potassium 7).
static ITEMS: [Item; 8] = [
    item(
        "14771-0",
        "Fasting glucose [Moles/volume] in Serum or Plasma",
        "空腹血糖",
        "mmol/L",
        1,
        (39, 61),
        30,
    ),
    item(
        "4548-4",
        "Hemoglobin A1c/Hemoglobin.total in Blood",
        "糖化血红蛋白",
        "%",
        1,
        (40, 60),
        60,
    ),
    item(
        "14647-2",
        "Cholesterol [Moles/volume] in Serum or Plasma",
        "总胆固醇",
        "mmol/L",
        2,
        (280, 520),
        30,
    ),
    item(
        "14682-9",
        "Creatinine [Moles/volume] in Serum or Plasma",
        "肌酐",
        "umol/L",
        0,
        (41, 111),
        30,
    ),
    item(
        "1742-6",
        "Alanine aminotransferase [Enzymatic activity/volume] in Serum or Plasma",
        "丙氨酸氨基转移酶",
        "U/L",
        0,
        (7, 45),
        30,
    ),
    item(
        "2823-3",
        "Potassium [Moles/volume] in Serum or Plasma",
        "钾",
        "mmol/L",
        2,
        (350, 530),
        7,
    ),
    item(
        "718-7",
        "Hemoglobin [Mass/volume] in Blood",
        "血红蛋白",
        "g/L",
        0,
        (115, 165),
        30,
    ),
    item(
        "14933-6",
        "Urate [Moles/volume] in Serum or Plasma",
        "尿酸",
        "umol/L",
        0,
        (155, 420),
        30,
    ),
];

impl Chart<'_> {
    /// A laboratory report with two to five results.
    pub(crate) fn laboratory_report(&mut self) {
        let when = self.moment_ago(1, 300);
        let diabetic = self.elder.suffers(&DIABETES);
        let first = self.draw.below(if diabetic { 1 } else { 5 }) as usize;
        let count = 2 + self.draw.below(3) as usize;
        let (mut results, mut high, mut days) = (Vec::new(), Vec::new(), 60);
        for item in ITEMS.iter().skip(first).take(count) {
            let (result, is_high) = self.laboratory_result(item, when, diabetic);
            results.push(reference(result));
            days = days.min(item.days);
            if is_high {
                high.push(item.zh);
            }
        }
        let conclusion = if high.is_empty() {
            "所检项目未见明显异常。".to_owned()
        } else {
            format!("{}偏高，请结合临床。", high.join("、"))
        };
        let category = [
            obj! { "coding": [coding(DIAGNOSTIC_SERVICE, "LAB", "Laboratory")] },
            obj! { "coding": [coding(OBSERVATION_CATEGORY, "laboratory", "Laboratory")] },
        ];
        let code = worded(LOINC, "11502-2", "Laboratory report", "生化检验报告");
        self.report(when, category, code, results, conclusion, days);
    }

    fn laboratory_result(&mut self, item: &Item, when: Moment, diabetic: bool) -> (String, bool) {
        let usual = self.elder.baseline.glucose_tenths;
        let value = match item.loinc {
            "14771-0" => self.draw.bell(usual, 4),
            // Estimated average glucose in mmol/L = 1.59 HbA1c - 2.59 (Nathan 2008), solved for HbA1c.
            "4548-4" => (usual + 26 + if diabetic { 12 } else { 6 }) * 100 / 159,
            _ => {
                let width = item.high - item.low;
                self.draw.bell((item.low + item.high) / 2, width / 4)
            }
        };
        let value = value.max(item.low / 2);
        let (flag, flag_zh) = match value {
            v if v > item.high => ("H", "偏高"),
            v if v < item.low => ("L", "偏低"),
            _ => ("N", "正常"),
        };
        let amount = |v: i32| quantity(v.into(), item.scale, item.unit);
        let body = obj! {
            "status": "final",
            "category": [obj! { "coding": [coding(OBSERVATION_CATEGORY, "laboratory", "Laboratory")] }],
            "code": worded(LOINC, item.loinc, item.en, item.zh),
            "subject": self.subject(),
            "effectiveDateTime": when.iso(),
            "performer": [self.own_organisation()],
            "valueQuantity": amount(value),
            "interpretation": [obj! { "coding": [coding(INTERPRETATION, flag, flag_zh)] }],
            "referenceRange": [obj! { "low": amount(item.low), "high": amount(item.high) }],
        };
        let reference = self.put(Type::ExamReport, "Observation", when, body);
        (reference, flag == "H")
    }

    /// An imaging report whose conclusion fits the illnesses.
    pub(crate) fn imaging_report(&mut self) {
        let when = self.moment_ago(1, 500);
        let elder = self.elder;
        let (loinc, en, zh, finding) = if elder.suffers(&STROKE) || elder.suffers(&DEMENTIA) {
            (
                "24590-2",
                "MR Brain",
                "头颅磁共振",
                "双侧基底节区陈旧性腔隙灶，脑萎缩。",
            )
        } else if elder.suffers(&COPD) {
            (
                "24627-2",
                "CT Chest",
                "胸部CT",
                "双肺肺气肿，散在纤维条索灶。",
            )
        } else if elder.suffers(&CORONARY) {
            (
                "24627-2",
                "CT Chest",
                "胸部CT",
                "冠状动脉钙化，主动脉硬化；双肺未见活动性病变。",
            )
        } else {
            (
                "36643-5",
                "XR Chest 2 Views",
                "胸部正侧位片",
                "心肺膈未见明显异常。",
            )
        };
        let category = [
            obj! { "coding": [coding(DIAGNOSTIC_SERVICE, "RAD", "Radiology")] },
            obj! { "coding": [coding(OBSERVATION_CATEGORY, "imaging", "Imaging")] },
        ];
        let conclusion = if self.draw.chance(300) {
            format!("{}：{finding}", self.name)
        } else {
            finding.to_owned()
        };
        let code = worded(LOINC, loinc, en, zh);
        self.report(when, category, code, Vec::new(), conclusion, 90);
    }

    fn report(
        &mut self,
        when: Moment,
        category: [Node; 2],
        code: Node,
        results: Vec<Node>,
        conclusion: String,
        days: i32,
    ) {
        let issued = when.plus_minutes(self.draw.range(30, 300));
        let area = self.draw.pick(&["全国HR", "全省HR", "本市HR"]);
        let recognised = self.draw.chance(700).then(|| {
            Node::from([obj! {
                "url": MUTUAL_RECOGNITION,
                "extension": [
                    obj! { "url": "area", "valueString": area },
                    obj! { "url": "validDays", "valueInteger": days },
                ],
            }])
        });
        let body = obj! {
            "extension": recognised,
            "status": "final",
            "category": category,
            "code": code,
            "subject": self.subject(),
            "effectiveDateTime": when.iso(),
            "issued": issued.iso(),
            "performer": [self.own_organisation()],
            "resultsInterpreter": [self.staff()],
            "result": results,
            "conclusion": conclusion,
        };
        self.put(Type::ExamReport, "DiagnosticReport", issued, body);
    }

    /// The blood group, for the emergency card. The same at every agency: it follows from the elder's number.
    pub(crate) fn blood_group(&mut self) {
        const GROUPS: [(&str, &str); 4] = [
            ("LA19710-5", "A型"),
            ("LA19709-7", "B型"),
            ("LA19708-9", "O型"),
            ("LA28449-9", "AB型"),
        ];
        let last = self
            .elder
            .resident_id
            .as_bytes()
            .get(15)
            .copied()
            .unwrap_or(b'0');
        let place = match last {
            b'0'..=b'2' => 0,
            b'3'..=b'5' => 1,
            b'6'..=b'8' => 2,
            _ => 3,
        };
        let Some(&(code, name)) = GROUPS.get(place) else {
            return;
        };
        let when = self.moment_ago(100, 2000);
        let body = obj! {
            "status": "final",
            "category": [status(OBSERVATION_CATEGORY, "laboratory")],
            "code": worded(LOINC, "883-9", "ABO group [Type] in Blood", "ABO血型"),
            "subject": self.subject(),
            "effectiveDateTime": when.iso(),
            "performer": [self.own_organisation()],
            "valueCodeableConcept": worded(LOINC, code, name, name),
        };
        self.put(Type::ExamReport, "Observation", when, body);
    }
}
