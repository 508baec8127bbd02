//! Care outside the hospital: ability assessment, services at home, alarms, positions.

use crate::calendar::Moment;
use crate::chart::{
    Chart, OBSERVATION_CATEGORY, coding, concept, narrative, note, quantity, reference, status,
};
use crate::illness::DEMENTIA;
use crate::json::{Node, obj};
use crate::places;
use crate::records::Type;

/// Names the scale of an assessment; results of different scales are never comparable.
const SCHEME: &str = "urn:songhe:scheme";
/// Own observations: `position`, `elder-ability`, and their components.
const OBSERVATION: &str = "urn:songhe:observation";
const SERVICE_KIND: &str = "urn:songhe:service-kind";
const ALERT_KIND: &str = "urn:songhe:alert-kind";

/// A kind of help at home: code, name, a sentence for the record.
pub(crate) type Service = (&'static str, &'static str, &'static str);

const SERVICES: [Service; 6] = [
    ("meals", "助餐", "送餐上门，老人进食良好"),
    ("bathing", "助浴", "协助洗浴，皮肤完好无压红"),
    ("cleaning", "助洁", "打扫居室，整理衣物"),
    ("escort", "助行", "陪同外出，往返平安"),
    ("medical-help", "助医", "陪同就医取药，已交代用药"),
    ("emergency", "助急", "上门查看，情况平稳"),
];

const ALERTS: [(&str, &str); 5] = [
    ("fall", "疑似跌倒"),
    ("help-call", "一键呼叫"),
    ("abnormal-vital", "体征异常"),
    ("wandering", "离开安全区域"),
    ("no-signal", "设备长时间离线"),
];

impl Chart<'_> {
    /// The current assessment by GB/T 42195-2022: total 0-90 as value, level 0-4 as component, scheme as method.
    pub(crate) fn care_assessment(&mut self) {
        let elder = self.elder;
        let when = self.moment_ago(5, 360);
        let reason = elder.suffers(&DEMENTIA).then_some("确诊痴呆，等级上调一级");
        let level_zh = match elder.ability_level {
            0 => "能力完好",
            1 => "轻度失能",
            2 => "中度失能",
            3 => "重度失能",
            _ => "完全失能",
        };
        self.assessment(
            when,
            concept(SCHEME, "GB/T 42195-2022", "老年人能力评估规范"),
            Some(i32::from(elder.ability_score)),
            i32::from(elder.ability_level),
            level_zh,
            reason,
        );
    }

    /// An assessment by the older scale MZ/T 039-2013, which has levels 0-3 and no total.
    pub(crate) fn old_care_assessment(&mut self) {
        let when = self.moment_ago(4 * 365, 6 * 365);
        let level = i32::from(self.elder.ability_level)
            .saturating_sub(1)
            .clamp(0, 3);
        let level_zh = match level {
            0 => "能力完好",
            1 => "轻度失能",
            2 => "中度失能",
            _ => "重度失能",
        };
        let scheme = concept(SCHEME, "MZ/T 039-2013", "老年人能力评估");
        self.assessment(when, scheme, None, level, level_zh, None);
    }

    fn assessment(
        &mut self,
        when: Moment,
        scheme: Node,
        total: Option<i32>,
        level: i32,
        level_zh: &'static str,
        reason: Option<&'static str>,
    ) {
        let assessors = [self.staff(), self.staff()];
        let text = format!(
            "{}老人评估结论：{level_zh}。信息提供者：{}。",
            self.name, self.elder.contact.name
        );
        let mut parts = vec![obj! {
            "code": concept(OBSERVATION, "ability-level", "能力等级"),
            "valueInteger": level,
        }];
        if let Some(reason) = reason {
            parts.push(obj! {
                "code": concept(OBSERVATION, "level-change", "等级变更依据"),
                "valueString": reason,
            });
        }
        let body = obj! {
            "text": narrative(&text),
            "status": "final",
            "category": [obj! { "coding": [coding(OBSERVATION_CATEGORY, "survey", "Survey")] }],
            "code": concept(OBSERVATION, "elder-ability", "老年人能力评估"),
            "subject": self.subject(),
            "effectiveDateTime": when.iso(),
            "performer": assessors,
            "valueInteger": total,
            "interpretation": [obj! { "text": level_zh }],
            "method": scheme,
            "component": parts,
        };
        self.put(Type::CareAssessment, "Observation", when, body);
    }

    /// A `ServiceRequest` for help at home; returns its reference, the service, and when it was made.
    pub(crate) fn service_order(&mut self, paid_by: &'static str) -> (String, Service, Moment) {
        let (code, zh, done) = self.draw.pick(&SERVICES);
        let when = self.moment_ago(4, 60);
        let priority = if code == "emergency" {
            "urgent"
        } else {
            "routine"
        };
        let body = obj! {
            "status": "active",
            "intent": "order",
            "category": [concept(SERVICE_KIND, "home-care", "居家养老服务")],
            "priority": priority,
            "code": obj! { "coding": [coding(SERVICE_KIND, code, zh)], "text": zh },
            "subject": self.subject(),
            "authoredOn": when.iso(),
            "requester": self.own_organisation(),
            "patientInstruction": format!("{paid_by}：{zh}，上门前电话联系{}。", self.elder.contact.name),
        };
        let order = self.put(Type::ServiceOrder, "ServiceRequest", when, body);
        (order, (code, zh, done), when)
    }

    /// The `Procedure` that carries out an order one to three days later.
    pub(crate) fn service_record(&mut self, order: &str, service: Service, ordered: Moment) {
        let (code, zh, done) = service;
        let start = ordered.plus_minutes(24 * 60 * self.draw.range(1, 2) + self.draw.range(0, 300));
        let end = start.plus_minutes(self.draw.range(30, 150));
        let family = self.elder.contact.relation_zh;
        let remark = note(format!("{}老人：{done}，{family}已确认。", self.name));
        let body = obj! {
            "basedOn": [reference(order.to_owned())],
            "status": "completed",
            "category": concept(SERVICE_KIND, "home-care", "居家养老服务"),
            "code": obj! { "coding": [coding(SERVICE_KIND, code, zh)], "text": zh },
            "subject": self.subject(),
            "performedPeriod": obj! { "start": start.iso(), "end": end.iso() },
            "performer": [obj! { "actor": self.staff() }],
            "note": remark,
        };
        self.put(Type::ServiceRecord, "Procedure", end, body);
    }

    /// A `Flag` raised by a device or a call; while it is open, the elder's position is kept too.
    pub(crate) fn alert(&mut self) {
        let (code, zh) = self.draw.pick(&ALERTS);
        let open = self.draw.chance(400);
        let start = self.moment_ago(1, if open { 2 } else { 90 });
        let end = (!open).then(|| start.plus_minutes(self.draw.range(4, 90)));
        let text = format!("{zh}：{}，请联系{}", self.name, self.elder.contact.phone);
        let body = obj! {
            "status": if open { "active" } else { "inactive" },
            "category": [concept(ALERT_KIND, code, zh)],
            "code": obj! { "coding": [coding(ALERT_KIND, code, zh)], "text": text },
            "subject": self.subject(),
            "period": obj! { "start": start.iso(), "end": end.map(Moment::iso) },
            "author": self.own_organisation(),
        };
        self.put(Type::Alert, "Flag", start, body);
        if open || code == "wandering" {
            self.position(start.plus_minutes(1));
        }
    }

    fn position(&mut self, when: Moment) {
        let county = self.city.counties().get(self.elder.county);
        let (north, east) = county.map_or((0, 0), |c| places::centre(c.code));
        let (north, east) = (
            north + self.draw.bell(0, 1200),
            east + self.draw.bell(0, 1200),
        );
        let part = |code, zh, value: i32| {
            obj! {
                "code": concept(OBSERVATION, code, zh),
                "valueQuantity": quantity(value.into(), 5, "deg"),
            }
        };
        let body = obj! {
            "status": "final",
            "category": [status(OBSERVATION_CATEGORY, "activity")],
            "code": concept(OBSERVATION, "position", "位置"),
            "subject": self.subject(),
            "effectiveDateTime": when.iso(),
            "device": obj! { "display": "智能手环" },
            "component": [part("latitude", "纬度", north), part("longitude", "经度", east)],
        };
        self.put(Type::Location, "Observation", when, body);
    }
}
