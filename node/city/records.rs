//! Which agency holds which records about an elder.

use core::fmt;

use record::{AgencyKind, MemberId, RecordTypeCode};

use crate::City;
use crate::chart::Chart;
use crate::elder::Elder;

/// A record of the city: one FHIR R4 resource at one agency.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// The agency that holds it.
    pub holder: MemberId,
    /// Its type in the catalogue.
    pub type_code: RecordTypeCode,
    /// Its FHIR resource type, such as `Observation`.
    pub resource_type: &'static str,
    /// The resource as JSON without line breaks, UTF-8.
    pub fhir_json: Vec<u8>,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "record({} at {}, {} bytes)",
            self.type_code,
            self.holder,
            self.fhir_json.len()
        )
    }
}

/// Types of records, in the order of [`RECORD_TYPES`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Profile,
    HealthSummary,
    Condition,
    Medication,
    Allergy,
    Encounter,
    ExamReport,
    Vitals,
    Ecg,
    CareAssessment,
    ServiceOrder,
    ServiceRecord,
    Alert,
    Location,
    Appointment,
    Referral,
    Facility,
    Consent,
}

/// Codes of all record types a city has.
pub const RECORD_TYPES: [&str; 18] = [
    "profile",
    "health-summary",
    "condition",
    "medication",
    "allergy",
    "encounter",
    "exam-report",
    "vitals",
    "ecg",
    "care-assessment",
    "service-order",
    "service-record",
    "alert",
    "location",
    "appointment",
    "referral",
    "facility",
    "consent",
];

/// The codes, parsed once per city.
pub(crate) fn codes() -> Vec<RecordTypeCode> {
    RECORD_TYPES
        .into_iter()
        .filter_map(|code| RecordTypeCode::parse(code).ok())
        .collect()
}

/// All records of an elder, agency by agency.
pub(crate) fn records_of(city: &City, elder: &Elder) -> Vec<Record> {
    let mut all = Vec::with_capacity(48);
    let mut first_hospital = true;
    for &place in &elder.known_at {
        let Some(mut chart) = Chart::new(city, elder, place) else {
            continue;
        };
        match chart.agency.kind {
            AgencyKind::Hospital if first_hospital => {
                first_hospital = false;
                home_hospital(&mut chart);
            }
            AgencyKind::Hospital => other_hospital(&mut chart),
            AgencyKind::CivilAffairs => bureau(&mut chart),
            AgencyKind::Community => community(&mut chart),
        }
        all.append(&mut chart.into_records());
    }
    all
}

/// The hospital that keeps the elder's health record.
fn home_hospital(chart: &mut Chart<'_>) {
    chart.profile();
    let conditions = chart.conditions(1000);
    let medicines = chart.medications();
    let allergy = chart.allergy();
    let visits = 1 + chart.draw.below(3);
    for nth in 0..visits {
        chart.encounter(nth == 0);
    }
    chart.health_summary(&conditions, &medicines, &allergy);
    chart.blood_group();
    chart.laboratory_report();
    if chart.draw.chance(550) {
        chart.imaging_report();
    }
    chart.clinic_vitals();
    if chart.draw.chance(400) {
        chart.ecg("十二导联心电图机");
    }
    if chart.draw.chance(500) {
        chart.appointment();
    }
    if chart.draw.chance(250) {
        chart.referral();
    }
    if chart.draw.chance(400) {
        chart.consent();
    }
}

/// A hospital where the elder was only now and then.
fn other_hospital(chart: &mut Chart<'_>) {
    chart.profile();
    chart.conditions(500);
    chart.encounter(true);
    chart.laboratory_report();
    if chart.draw.chance(400) {
        chart.imaging_report();
    }
}

/// The civil-affairs bureau: who the elder is and what help is due.
fn bureau(chart: &mut Chart<'_>) {
    chart.profile();
    chart.care_assessment();
    if chart.draw.chance(250) {
        chart.old_care_assessment();
    }
    if chart.elder.ability_level >= 2 || chart.draw.chance(200) {
        chart.service_order("政府购买服务");
    }
    if chart.draw.chance(250) {
        chart.consent();
    }
}

/// The community platform: wearables, help at home, alarms.
fn community(chart: &mut Chart<'_>) {
    chart.profile();
    let readings = 3 + chart.draw.below(4);
    for _ in 0..readings {
        chart.wearable_vitals();
    }
    if chart.draw.chance(150) {
        chart.ecg("可穿戴心电贴");
    }
    let orders = 1 + chart.draw.below(2);
    for _ in 0..orders {
        let (order, service, when) = chart.service_order("居家养老服务");
        if chart.draw.chance(850) {
            chart.service_record(&order, service, when);
        }
    }
    if chart.draw.chance(350) {
        chart.alert();
    }
    if chart.draw.chance(200) {
        chart.consent();
    }
}
