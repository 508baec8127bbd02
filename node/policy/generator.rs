//! Seeded questions for tests: the same seed gives the same questions on every machine.

use record::consent::Effect;
use record::decision::{Agency, AskedType, Environment, Provision, Verb};
use record::{
    AgencyKind, ConsentId, DistrictCode, LawfulBasis, Level, MemberId, Purpose, Question,
    RecordTypeCode, Role,
};

/// Record types with their levels, and two that nobody classified.
pub(crate) const TYPES: [(&str, u8); 20] = [
    ("profile", 4),
    ("health-summary", 3),
    ("condition", 3),
    ("medication", 3),
    ("allergy", 3),
    ("encounter", 3),
    ("exam-report", 3),
    ("vitals", 3),
    ("ecg", 3),
    ("care-assessment", 3),
    ("service-order", 2),
    ("service-record", 2),
    ("alert", 3),
    ("location", 4),
    ("appointment", 2),
    ("referral", 3),
    ("facility", 1),
    ("consent", 2),
    ("genome", 5),
    ("something-new", 5),
];

/// The clock of every generated question.
pub(crate) const NOW: i64 = 1_795_313_730;

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

pub(crate) fn code(text: &str) -> RecordTypeCode {
    RecordTypeCode::parse(text).unwrap()
}

pub(crate) fn agency(member: &str, kind: AgencyKind) -> Agency {
    Agency {
        member: MemberId::parse(member).unwrap(),
        kind,
        district: DistrictCode::parse("530111").unwrap(),
    }
}

/// A question: half of them are of a sensible kind, role and purpose, the others of any.
pub(crate) fn question(rng: &mut Rng) -> Question {
    let (kind, role, purpose) = if rng.below(2) == 0 {
        rng.pick(&[
            (AgencyKind::Hospital, Role::Physician, Purpose::Treat),
            (AgencyKind::Hospital, Role::Physician, Purpose::Caremgt),
            (AgencyKind::Hospital, Role::Physician, Purpose::Pubhlth),
            (AgencyKind::Hospital, Role::Nurse, Purpose::Treat),
            (AgencyKind::Community, Role::FamilyDoctor, Purpose::Caremgt),
            (AgencyKind::Community, Role::CareWorker, Purpose::Caremgt),
            (
                AgencyKind::CivilAffairs,
                Role::BenefitOfficer,
                Purpose::Eligdtrm,
            ),
            (AgencyKind::CivilAffairs, Role::Registrar, Purpose::Caremgt),
        ])
    } else {
        (
            rng.pick(&AgencyKind::ALL),
            rng.pick(&Role::ALL),
            rng.pick(&Purpose::ALL),
        )
    };
    let basis = if rng.below(2) == 0 {
        LawfulBasis::Consent
    } else {
        rng.pick(&LawfulBasis::ALL)
    };
    let mut types = Vec::new();
    for _ in 0..rng.below(7) {
        let (name, usual) = rng.pick(&TYPES);
        let level = if rng.below(4) == 0 {
            u8::try_from(rng.below(5)).unwrap() + 1
        } else {
            usual
        };
        types.push(AskedType {
            code: code(name),
            level: Level::new(level).unwrap(),
        });
    }
    let mut consents = Vec::new();
    for _ in 0..rng.below(5) {
        consents.push(provision(rng));
    }
    let holder = rng.pick(&AgencyKind::ALL);
    Question {
        v: 1,
        verb: rng.pick(&[Verb::Fetch, Verb::Fetch, Verb::Locate]),
        purpose,
        basis,
        requester: agency("asker", kind),
        role,
        holder: agency("holder", holder),
        types,
        consents,
        env: Environment { now: NOW },
    }
}

/// A provision: one in five refuses.
pub(crate) fn provision(rng: &mut Rng) -> Provision {
    let mut types = Vec::new();
    for _ in 0..rng.below(4) {
        types.push(code(rng.pick(&TYPES).0));
    }
    let mut id = [0_u8; 16];
    for slot in &mut id {
        *slot = u8::try_from(rng.below(256)).unwrap();
    }
    Provision {
        id: ConsentId::from_bytes(id),
        effect: if rng.below(5) == 0 {
            Effect::Refuse
        } else {
            Effect::Permit
        },
        types,
        level_ceiling: Level::new(u8::try_from(rng.below(5)).unwrap() + 1).unwrap(),
        until: NOW + rng.pick(&[-86_400, -1, 0, 1, 86_400, 31_536_000, 31_536_000]),
    }
}
