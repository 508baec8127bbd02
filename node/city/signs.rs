//! The five common signs: blood pressure, glucose, oxygen, heart rate, and the ECG as sampled data.

use crate::calendar::Moment;
use crate::chart::{Chart, LOINC, OBSERVATION_CATEGORY, coding, quantity, worded};
use crate::illness::{CORONARY, FIBRILLATION};
use crate::json::{Node, obj};
use crate::records::Type;

const MDC: &str = "urn:iso:std:iso:11073:10101";
/// ECG samples: 125 a second for two seconds, in steps of 5 µV.
const SAMPLE_MS: i32 = 8;
const SAMPLES: i32 = 250;

/// One heartbeat of lead II in steps of 5 µV, from 20 samples before the R peak: P wave, QRS, T wave.
const BEAT: [i32; 62] = [
    2, 6, 12, 18, 22, 24, 22, 17, 11, 6, 2, 0, 0, 0, 0, 0, -4, -18, 60, 170, 210, 130, 10, -48,
    -30, -10, -2, 0, 0, 0, 1, 1, 2, 3, 4, 6, 8, 11, 15, 20, 26, 32, 38, 44, 48, 50, 48, 43, 36, 28,
    20, 13, 8, 4, 2, 1, 0, 0, 0, 0, 0, 0,
];
/// Where the P wave of `BEAT` ends; a fibrillating atrium makes none.
const P_WAVE: usize = 12;

impl Chart<'_> {
    /// Blood pressure and heart rate at a visit, glucose too for a part.
    pub(crate) fn clinic_vitals(&mut self) {
        let when = self.moment_ago(1, 120);
        self.blood_pressure(when, "医用电子血压计");
        self.heart_rate(when.plus_minutes(1), "医用电子血压计");
        if self.draw.chance(500) {
            self.glucose(when.plus_minutes(5), "血糖仪");
        }
    }

    /// One reading from a device the elder wears or has at home.
    pub(crate) fn wearable_vitals(&mut self) {
        let when = self.day_ago(1, 14);
        let when = when.at(self.draw.range(0, 23), self.draw.range(0, 58));
        match self.draw.below(10) {
            0..3 => self.blood_pressure(when, "家用血压计"),
            3..6 => self.heart_rate(when, "智能手环"),
            6..8 => self.oxygen(when, "智能手环"),
            _ => self.glucose(when, "家用血糖仪"),
        }
    }

    fn blood_pressure(&mut self, when: Moment, device: &'static str) {
        let usual = self.elder.baseline;
        // Both values rise and fall together.
        let shift = self.draw.bell(0, 5);
        let systolic = (usual.systolic_mmhg + shift + self.draw.range(-4, 4)).clamp(80, 230);
        let diastolic =
            (usual.diastolic_mmhg + shift / 2 + self.draw.range(-3, 3)).clamp(40, systolic - 15);
        let part = |code, en, zh, value: i32| {
            obj! {
                "code": worded(LOINC, code, en, zh),
                "valueQuantity": quantity(value.into(), 0, "mm[Hg]"),
            }
        };
        let components = [
            part("8480-6", "Systolic blood pressure", "收缩压", systolic),
            part("8462-4", "Diastolic blood pressure", "舒张压", diastolic),
        ];
        let code = worded(
            LOINC,
            "85354-9",
            "Blood pressure panel with all children optional",
            "血压",
        );
        self.sign(when, device, code, Node::Absent, components.to_vec());
    }

    fn heart_rate(&mut self, when: Moment, device: &'static str) {
        let scatter = if self.elder.suffers(&FIBRILLATION) {
            9
        } else {
            4
        };
        let rate = self
            .draw
            .bell(self.elder.baseline.heart_rate, scatter)
            .clamp(40, 160);
        let code = worded(LOINC, "8867-4", "Heart rate", "心率");
        self.sign(
            when,
            device,
            code,
            quantity(rate.into(), 0, "/min"),
            Vec::new(),
        );
    }

    fn oxygen(&mut self, when: Moment, device: &'static str) {
        let percent = self
            .draw
            .bell(self.elder.baseline.oxygen_percent, 1)
            .clamp(75, 100);
        let code = obj! {
            "coding": [
                coding(LOINC, "2708-6", "Oxygen saturation in Arterial blood"),
                coding(LOINC, "59408-5", "Oxygen saturation in Arterial blood by Pulse oximetry"),
            ],
            "text": "血氧饱和度",
        };
        self.sign(
            when,
            device,
            code,
            quantity(percent.into(), 0, "%"),
            Vec::new(),
        );
    }

    fn glucose(&mut self, when: Moment, device: &'static str) {
        let after_meal = self.draw.range(0, 20);
        let tenths = self
            .draw
            .bell(self.elder.baseline.glucose_tenths + after_meal, 5)
            .clamp(25, 280);
        let code = worded(LOINC, "15074-8", "Glucose [Moles/volume] in Blood", "血糖");
        self.sign(
            when,
            device,
            code,
            quantity(tenths.into(), 1, "mmol/L"),
            Vec::new(),
        );
    }

    fn sign(
        &mut self,
        when: Moment,
        device: &'static str,
        code: Node,
        value: Node,
        parts: Vec<Node>,
    ) {
        let body = obj! {
            "status": "final",
            "category": [obj! { "coding": [coding(OBSERVATION_CATEGORY, "vital-signs", "Vital Signs")] }],
            "code": code,
            "subject": self.subject(),
            "effectiveDateTime": when.iso(),
            "performer": [self.own_organisation()],
            "valueQuantity": value,
            "device": obj! { "display": device },
            "component": parts,
        };
        self.put(Type::Vitals, "Observation", when, body);
    }

    /// Two seconds of a lead; irregular and without P waves in atrial fibrillation.
    pub(crate) fn ecg(&mut self, device: &'static str) {
        let when = self.moment_ago(1, 200);
        let fibrillation = self.elder.suffers(&FIBRILLATION);
        let rate = self
            .draw
            .bell(self.elder.baseline.heart_rate, 4)
            .clamp(45, 130);
        let data = self.ecg_samples(rate, fibrillation);
        let text = match (fibrillation, rate) {
            (true, _) => "心房颤动",
            (false, 100..) => "窦性心动过速",
            (false, ..60) => "窦性心动过缓",
            (false, _) if self.elder.suffers(&CORONARY) => "窦性心律，ST-T改变",
            (false, _) => "窦性心律，大致正常心电图",
        };
        let code = obj! {
            "coding": [
                coding(LOINC, "11524-6", "EKG study"),
                coding(MDC, "131328", "MDC_ECG_ELEC_POTL"),
            ],
            "text": "心电图",
        };
        let body = obj! {
            "status": "final",
            "category": [obj! { "coding": [coding(OBSERVATION_CATEGORY, "procedure", "Procedure")] }],
            "code": code,
            "subject": self.subject(),
            "effectiveDateTime": when.iso(),
            "performer": [self.own_organisation()],
            "valueSampledData": obj! {
                "origin": quantity(0, 0, "mV"),
                "period": SAMPLE_MS,
                "factor": Node::Decimal(5, 3),
                "dimensions": 1,
                "data": data,
            },
            "interpretation": [obj! { "text": text }],
            "device": obj! { "display": device },
        };
        self.put(Type::Ecg, "Observation", when, body);
    }

    fn ecg_samples(&mut self, rate: i32, fibrillation: bool) -> String {
        let usual_gap = 60_000 / SAMPLE_MS / rate;
        let (mut gap, mut since) = (usual_gap, self.draw.range(0, usual_gap - 1));
        let mut data = String::with_capacity(1000);
        for n in 0..SAMPLES {
            if since >= gap {
                since = 0;
                if fibrillation {
                    gap = usual_gap * self.draw.range(75, 130) / 100;
                }
            }
            let place = usize::try_from(since).unwrap_or(0);
            let wave = match place {
                0..P_WAVE if fibrillation => 0,
                _ => BEAT.get(place).copied().unwrap_or(0),
            };
            let noise = if fibrillation { 6 } else { 2 };
            if n > 0 {
                data.push(' ');
            }
            data.push_str(&(wave + self.draw.range(-noise, noise)).to_string());
            since += 1;
        }
        data
    }
}
