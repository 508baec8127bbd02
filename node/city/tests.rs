//! Tests of the whole city: the same bytes, valid numbers, every record type, valid FHIR, values that fit together.

use std::collections::{BTreeMap, BTreeSet};

use record::resident_id::RESIDENT_ID_SYSTEM;
use record::{CreditCode, DistrictCode, ResidentId, Timestamp};
use serde_json::Value;

use super::*;

fn plan(seed: u64, elders: u32) -> Plan {
    Plan {
        seed,
        elders,
        hospitals: 3,
        bureaus: 1,
        communities: 2,
        district: DistrictCode::parse("500112").unwrap(),
        today: Timestamp::parse_rfc3339("2026-11-22T09:00:00+08:00").unwrap(),
    }
}

fn city(seed: u64, elders: u32) -> City {
    City::new(plan(seed, elders)).unwrap()
}

fn digest(city: &City) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for agency in city.agencies() {
        context.update(format!("{agency:?}").as_bytes());
    }
    for elder in city.elders() {
        context.update(elder.resident_id.as_bytes());
        context.update(elder.name().as_bytes());
    }
    for record in city.records() {
        context.update(record.holder.as_str().as_bytes());
        context.update(record.type_code.as_str().as_bytes());
        context.update(&record.fhir_json);
    }
    record::id::hex_encode(context.finish().as_ref())
}

fn json(record: &Record) -> Value {
    serde_json::from_slice(&record.fhir_json).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_bytes_for_ever() {
    // When this changes on purpose, `draw::VERSION` changes too.
    assert_eq!(digest(&city(2026, 12)), GOLDEN);
    assert_ne!(digest(&city(2027, 12)), GOLDEN);
}

const GOLDEN: &str = "7902f551aa8d7e0edf5758d653dfd395076df5adaeab755b7864e08719a3c248";

#[test]
fn an_elder_depends_on_no_other_and_not_on_the_size() {
    let (small, large) = (city(5, 10), city(5, 1_000_000));
    for i in 0..10 {
        let (a, b) = (small.elder(i).unwrap(), large.elder(i).unwrap());
        assert!(a == b);
        assert!(small.records_of(&a) == large.records_of(&b));
    }
    assert!(small.elder(10).is_none());
    let last = large.elder(999_999).unwrap();
    assert!(!large.records_of(&last).is_empty());
}

#[test]
fn numbers_are_valid_and_unlike_each_other() {
    for (district, today) in [
        ("500112", "2026-11-22T09:00:00+08:00"),
        ("530100", "2028-02-29T09:00:00+08:00"),
        ("510000", "2031-12-31T23:30:00+08:00"),
        ("441900", "2016-01-01T00:10:00+08:00"),
    ] {
        let city = City::new(Plan {
            district: DistrictCode::parse(district).unwrap(),
            today: Timestamp::parse_rfc3339(today).unwrap(),
            ..plan(7, 3_000)
        })
        .unwrap();
        let (mut seen, mut unknown, mut ages) = (BTreeSet::new(), 0, BTreeMap::new());
        for elder in city.elders() {
            let (id, warning) = ResidentId::parse(&elder.resident_id, city.plan().today).unwrap();
            unknown += u32::from(warning.is_some());
            assert_eq!(id.is_male(), elder.sex == Sex::Male);
            let (y, m, d) = id.birth_date().unwrap();
            assert_eq!(format!("{y:04}-{m:02}-{d:02}"), elder.birth_date);
            assert!((60..=105).contains(&elder.age_years), "{}", elder.age_years);
            assert!((1..=3).contains(&elder.known_at.len()));
            *ages.entry(elder.age_years / 10).or_insert(0) += 1;
            // Unlike each other even without the district's six digits.
            assert!(seen.insert(elder.resident_id.as_bytes()[6..17].to_vec()));
        }
        assert!((200..450).contains(&unknown), "abolished codes: {unknown}");
        assert!(ages[&6] > ages[&7] && ages[&7] > ages[&8] && ages[&8] > ages[&9]);
        for agency in city.agencies() {
            assert!(CreditCode::parse(agency.credit_code.as_str()).is_ok());
            assert!(city.plan().district.contains(agency.district));
        }
    }
}

#[test]
fn the_register_has_room_for_everyone() {
    // Every fortieth elder of the largest city.
    let city = City::new(plan(11, ELDERS_MAX)).unwrap();
    let mut seen = BTreeSet::new();
    for i in (0..ELDERS_MAX).step_by(40) {
        let elder = city.elder(i).unwrap();
        assert!(seen.insert(elder.resident_id.as_bytes()[6..17].to_vec()));
    }
}

#[test]
fn agencies_have_names_and_codes_of_their_own() {
    let city = City::new(Plan {
        hospitals: 400,
        bureaus: 60,
        communities: 821,
        district: DistrictCode::parse("530100").unwrap(),
        ..plan(1, 1)
    })
    .unwrap();
    assert_eq!(city.agencies().len(), 1281);
    let unlike =
        |f: fn(&Agency) -> String| city.agencies().iter().map(f).collect::<BTreeSet<_>>().len();
    assert_eq!(unlike(|a| a.name_zh.clone()), 1281);
    assert_eq!(unlike(|a| a.credit_code.to_string()), 1281);
    assert_eq!(unlike(|a| a.member.to_string()), 1281);
    assert_eq!(city.facilities().count(), 2 * 1281);
}

#[test]
fn every_type_appears_and_elders_have_enough() {
    let city = city(1, 200);
    let types: BTreeSet<String> = city.records().map(|r| r.type_code.to_string()).collect();
    let expected: BTreeSet<String> = RECORD_TYPES.map(str::to_owned).into();
    assert_eq!(types, expected);
    let counts: Vec<usize> = city.elders().map(|e| city.records_of(&e).len()).collect();
    let mean = counts.iter().sum::<usize>() / counts.len();
    assert!((20..=35).contains(&mean), "{mean}");
    let usual = counts.iter().filter(|c| (15..=45).contains(*c)).count();
    assert!(usual >= 180, "{usual} of 200");
}

#[test]
fn every_resource_is_valid_fhir_r4() {
    for (seed, district) in [(1, "500112"), (2, "530100"), (3, "110000")] {
        let city = City::new(Plan {
            district: DistrictCode::parse(district).unwrap(),
            ..plan(seed, 100)
        })
        .unwrap();
        let mut checked = 0;
        for record in city.records() {
            let text = core::str::from_utf8(&record.fhir_json).unwrap();
            let (resource, issues) = fhirkit::from_json::<fhirkit::r4::Resource>(text).unwrap();
            assert!(issues.is_empty(), "{} {issues:?}\n{text}", record.type_code);
            let resource = resource.unwrap();
            assert_eq!(resource.resource_type(), record.resource_type);
            assert_eq!(fhirkit::to_json(&resource).len(), text.len(), "{text}");
            checked += 1;
        }
        assert!(checked > 2_000, "{checked}");
    }
}

/// What the structural check does not know: required codes, invariants, and what the exchange needs.
#[test]
fn elements_are_what_the_catalogue_selects_by() {
    let city = city(1, 200);
    for record in city.records() {
        let v = json(&record);
        let codes = |path: &str| -> Vec<String> {
            let node = v.pointer(path).cloned().unwrap_or_default();
            let list = if node.is_array() {
                node
            } else {
                Value::Array(vec![node])
            };
            list.as_array()
                .unwrap()
                .iter()
                .flat_map(|c| c["coding"].as_array().cloned().unwrap_or_default())
                .map(|c| {
                    format!(
                        "{}|{}",
                        c["system"].as_str().unwrap(),
                        c["code"].as_str().unwrap()
                    )
                })
                .collect()
        };
        let in_category = |code: &str| codes("/category").iter().any(|c| c.ends_with(code));
        let resource = v["resourceType"].as_str().unwrap();
        match record.type_code.as_str() {
            "profile" => {
                assert_eq!(v["identifier"][0]["system"], RESIDENT_ID_SYSTEM);
                assert!(
                    v["name"][0]["family"].is_string() && v["address"][0]["district"].is_string()
                );
            }
            "health-summary" => assert_eq!(resource, "Composition"),
            "condition" => {
                assert!(codes("/code")[0].starts_with("http://hl7.org/fhir/sid/icd-10|"));
            }
            "medication" => assert_eq!(resource, "MedicationRequest"),
            "allergy" => assert_eq!(resource, "AllergyIntolerance"),
            "encounter" => assert_eq!(resource, "Encounter"),
            "exam-report" => {
                assert!(in_category("|laboratory") || in_category("|imaging"), "{v}");
                assert!(resource == "Observation" || v["conclusion"].is_string());
            }
            "vitals" => assert!(in_category("|vital-signs") && v["effectiveDateTime"].is_string()),
            "ecg" => {
                assert!(codes("/code").contains(&"http://loinc.org|11524-6".to_owned()));
                let data = v["valueSampledData"]["data"].as_str().unwrap();
                let samples: Vec<i32> = data.split(' ').map(|s| s.parse().unwrap()).collect();
                assert_eq!(samples.len(), 250);
                assert!(
                    samples.iter().any(|s| *s > 100),
                    "no heartbeat in two seconds"
                );
            }
            "care-assessment" => {
                assert!(in_category("|survey"));
                let level = v["component"][0]["valueInteger"].as_i64().unwrap();
                if v["method"]["coding"][0]["code"] == "GB/T 42195-2022" {
                    let total = v["valueInteger"].as_i64().unwrap();
                    let plain = [90, 66, 46, 30, 0]
                        .iter()
                        .position(|low| total >= *low)
                        .unwrap();
                    let worse = i64::from(v["component"][1].is_object());
                    assert_eq!(level, (i64::try_from(plain).unwrap() + worse).min(4));
                } else {
                    assert!((0..=3).contains(&level) && v.get("valueInteger").is_none());
                }
            }
            "service-order" | "service-record" => {
                assert_eq!(codes("/category"), ["urn:songhe:service-kind|home-care"]);
            }
            "alert" => assert!(codes("/category")[0].starts_with("urn:songhe:alert-kind|")),
            "location" => assert_eq!(codes("/code"), ["urn:songhe:observation|position"]),
            "appointment" => assert!(v["start"].as_str() < v["end"].as_str()),
            "referral" => assert!(resource == "ServiceRequest" && !in_category("|home-care")),
            "facility" => {
                let code = v["identifier"][0]["value"].as_str().unwrap();
                assert!(CreditCode::parse(code).is_ok());
            }
            "consent" => assert!(v["scope"].is_object() && v["policyRule"].is_object()),
            other => panic!("a type without a check: {other}"),
        }
        assert_eq!(v["meta"]["versionId"], "1");
        assert!(
            v["meta"]["lastUpdated"]
                .as_str()
                .unwrap()
                .ends_with("+08:00")
        );
    }
}

#[test]
fn every_reference_to_a_patient_is_to_the_one_of_that_agency() {
    let city = city(3, 100);
    let (mut ids, mut record_ids) = (BTreeSet::new(), BTreeSet::new());
    for elder in city.elders() {
        let records = city.records_of(&elder);
        for &place in &elder.known_at {
            let agency = &city.agencies()[place];
            let patient = city.patient_id(place, elder.index);
            assert!(ids.insert(patient.clone()), "two patients of one id");
            let own: Vec<&Record> = records
                .iter()
                .filter(|r| r.holder == agency.member)
                .collect();
            let known: BTreeSet<String> = own
                .iter()
                .map(|r| json(r))
                .map(|v| {
                    format!(
                        "{}/{}",
                        v["resourceType"].as_str().unwrap(),
                        v["id"].as_str().unwrap()
                    )
                })
                .collect();
            assert_eq!(known.len(), own.len());
            assert!(known.contains(&format!("Patient/{patient}")));
            for record in own {
                assert!(record_ids.insert(json(record)["id"].to_string()));
                for target in references(&json(record)) {
                    let inside = known.contains(&target)
                        || target == format!("Organization/{}", agency.member);
                    assert!(inside, "{target} dangles");
                }
            }
        }
    }
}

fn references(v: &Value) -> Vec<String> {
    match v {
        Value::Object(map) => map
            .iter()
            .flat_map(|(k, v)| match (k.as_str(), v) {
                ("reference", Value::String(s)) => vec![s.clone()],
                _ => references(v),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn records_lie_in_the_past_and_appointments_ahead() {
    let city = city(4, 150);
    let today = city.today().at(0, 0).iso();
    for record in city.records() {
        let v = json(&record);
        assert!(
            v["meta"]["lastUpdated"].as_str().unwrap() < today.as_str(),
            "{v}"
        );
        for when in [
            "effectiveDateTime",
            "authoredOn",
            "dateTime",
            "issued",
            "date",
            "recordedDate",
        ] {
            if let Some(t) = v[when].as_str() {
                assert!(t < today.as_str(), "{when} {t}");
            }
        }
        if let Some(start) = v["start"].as_str() {
            assert!(start > today.as_str());
        }
    }
}

#[test]
fn readings_fit_the_illnesses() {
    let city = city(6, 800);
    let mut readings: BTreeMap<(&str, bool), Vec<f64>> = BTreeMap::new();
    for elder in city.elders() {
        for record in city.records_of(&elder) {
            if record.type_code.as_str() != "vitals" {
                continue;
            }
            let v = json(&record);
            let value = v["valueQuantity"]["value"].as_f64();
            match v["code"]["coding"][0]["code"].as_str().unwrap() {
                "85354-9" => {
                    let part = |i: usize| {
                        v["component"][i]["valueQuantity"]["value"]
                            .as_f64()
                            .unwrap()
                    };
                    assert!(part(0) > part(1) && part(1) >= 40.0);
                    readings
                        .entry(("systolic", elder.has("I10")))
                        .or_default()
                        .push(part(0));
                }
                "15074-8" => {
                    assert_eq!(v["valueQuantity"]["code"], "mmol/L");
                    readings
                        .entry(("glucose", elder.has("E11.9")))
                        .or_default()
                        .push(value.unwrap());
                }
                "2708-6" => {
                    assert!(value.unwrap() <= 100.0);
                    readings
                        .entry(("oxygen", elder.has("J44.9")))
                        .or_default()
                        .push(value.unwrap());
                }
                "8867-4" => readings
                    .entry(("rate", elder.has("I48.9")))
                    .or_default()
                    .push(value.unwrap()),
                other => panic!("unknown sign {other}"),
            }
        }
    }
    let mean = |key| {
        readings[&key].iter().sum::<f64>() / f64::from(u32::try_from(readings[&key].len()).unwrap())
    };
    assert!(mean(("systolic", true)) > mean(("systolic", false)) + 12.0);
    assert!(mean(("glucose", true)) > mean(("glucose", false)) + 2.0);
    assert!(mean(("oxygen", true)) < mean(("oxygen", false)) - 2.0);
    assert!(mean(("rate", true)) > mean(("rate", false)) + 8.0);
}

#[test]
fn free_text_names_people_so_that_leaks_can_be_found() {
    let city = city(8, 300);
    let (mut names, mut numbers, mut telephones) = (0, 0, 0);
    for elder in city.elders() {
        for record in city.records_of(&elder) {
            let text = String::from_utf8(record.fhir_json.clone()).unwrap();
            if record.type_code.as_str() != "profile" {
                names += u32::from(text.contains(&elder.name()));
                numbers += u32::from(text.contains(&elder.resident_id));
                telephones += u32::from(text.contains(&elder.contact.phone));
            }
        }
    }
    assert!(
        names > 600 && numbers >= 5 && telephones >= 20,
        "{names} {numbers} {telephones}"
    );
}

#[test]
fn nothing_personal_prints() {
    let city = city(9, 5);
    let elder = city.elder(0).unwrap();
    assert_eq!(format!("{elder:?}"), "elder(0)");
    assert_eq!(format!("{:?}", elder.contact), "contact(..)");
    for record in city.records_of(&elder) {
        let printed = format!("{record:?}");
        assert!(
            printed.len() < 100 && !printed.contains(&elder.name()),
            "{printed}"
        );
    }
}

#[test]
fn a_plan_that_cannot_be_is_refused() {
    let fault = |p: Plan| City::new(p).unwrap_err();
    assert_eq!(fault(plan(1, 0)), InvalidPlan::Elders);
    assert_eq!(fault(plan(1, ELDERS_MAX + 1)), InvalidPlan::Elders);
    let empty = Plan {
        hospitals: 0,
        bureaus: 0,
        communities: 0,
        ..plan(1, 1)
    };
    assert_eq!(fault(empty), InvalidPlan::NoAgency);
    let nowhere = Plan {
        district: DistrictCode::parse("110103").unwrap(),
        ..plan(1, 1)
    };
    assert_eq!(fault(nowhere), InvalidPlan::District);
    let never = Plan {
        today: Timestamp::from_ms(i64::MAX),
        ..plan(1, 1)
    };
    assert_eq!(fault(never), InvalidPlan::Today);
}

#[test]
fn any_mixture_of_agencies_knows_everyone() {
    for (hospitals, bureaus, communities) in [
        (1, 0, 0),
        (0, 1, 0),
        (0, 0, 1),
        (1, 1, 1),
        (2, 0, 0),
        (0, 3, 2),
        (90, 90, 90),
    ] {
        for district in ["500112", "530100", "441900"] {
            let city = City::new(Plan {
                hospitals,
                bureaus,
                communities,
                district: DistrictCode::parse(district).unwrap(),
                ..plan(2, 60)
            })
            .unwrap();
            for elder in city.elders() {
                let places: BTreeSet<usize> = elder.known_at.iter().copied().collect();
                assert_eq!(places.len(), elder.known_at.len(), "one agency twice");
                assert!(places.iter().all(|p| *p < city.agencies().len()));
                assert!(!city.records_of(&elder).is_empty());
            }
        }
    }
}

#[test]
fn the_folder_holds_the_same_records() {
    let place = tempfile::tempdir().unwrap();
    let city = city(2026, 40);
    let mut calls = Vec::new();
    let written = folder::write_folder(&city, &place.path().join("a"), |done, total| {
        calls.push((done, total));
    })
    .unwrap();
    assert_eq!(calls, (1..=40).map(|n| (n, 40)).collect::<Vec<_>>());
    let mut expected: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for record in city.records() {
        let file = expected
            .entry(format!("{}/{}.ndjson", record.holder, record.resource_type))
            .or_default();
        file.extend_from_slice(&record.fhir_json);
        file.push(b'\n');
    }
    for (name, bytes) in &expected {
        assert!(
            std::fs::read(place.path().join("a").join(name)).unwrap() == *bytes,
            "{name}"
        );
    }
    assert_eq!(
        written.bytes,
        expected.values().map(|b| b.len() as u64).sum::<u64>()
    );
    assert_eq!(
        (written.elders, written.records),
        (40, city.records().count() as u64)
    );
    let read = |name: &str| std::fs::read_to_string(place.path().join("a").join(name)).unwrap();
    assert_eq!(read(folder::REGISTER_FILE).lines().count(), 41);
    let manifest: Value = serde_json::from_str(&read(folder::MANIFEST_FILE)).unwrap();
    assert_eq!(manifest["records"].as_u64(), Some(written.records));
    let agencies: Value = serde_json::from_str(&read(folder::AGENCIES_FILE)).unwrap();
    assert_eq!(agencies.as_array().unwrap().len(), city.agencies().len());
    assert!(matches!(
        folder::write_folder(&city, &place.path().join("a"), |_, _| ()),
        Err(folder::FolderError::NotEmpty)
    ));
}

/// A million elders are an iterator, not a list: taking the first and last costs no more than in a small city.
#[test]
fn a_large_city_is_streamed() {
    let city = city(1, 1_000_000);
    assert_eq!(city.records().take(5_000).count(), 5_000);
    assert!(city.elders().next().is_some());
}
