//! Made-up people and records, and the seeded dice that choose them.

use record::ResidentId;

/// Same seed, same throws (splitmix64).
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is above 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.throw() % end
    }

    /// True in `percent` of a hundred throws.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of them.
    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let at = usize::try_from(self.below(of.len() as u64)).unwrap();
        &of[at]
    }
}

/// A valid, made-up resident number; another for each `n` below a million.
pub(crate) fn resident(n: u32) -> String {
    let (sequence, day) = (n % 400, n / 400);
    let (month, year) = (day / 28, day / 336);
    let birth = format!("{:04}{:02}{:02}", 1930 + year, 1 + month % 12, 1 + day % 28);
    ResidentId::complete(&format!("500112{birth}{:03}", sequence * 2 + 1)).unwrap()
}

/// A heart rate with a version of its own and a note of so many characters.
pub(crate) fn heart_rate(id: &str, version: u32, note: usize) -> Vec<u8> {
    serde_json::json!({
        "resourceType": "Observation", "id": id, "meta": {"versionId": version.to_string()}, "status": "final",
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": format!("2024-{:02}-{:02}T08:00:00+08:00", 1 + version % 12, 1 + note % 28),
        "valueQuantity": {"value": 50 + version % 60, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min"},
        "note": [{"text": "n".repeat(note.max(1))}],
    })
    .to_string()
    .into_bytes()
}

#[test]
fn every_made_up_number_is_another() {
    let all: std::collections::BTreeSet<String> = (0..20_000).map(resident).collect();
    assert_eq!(all.len(), 20_000);
}
