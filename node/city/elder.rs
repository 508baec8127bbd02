//! One elder: identity, home, family, health; made from the seed and the index alone.

use core::fmt;

use record::ResidentId;

use crate::calendar::Day;
use crate::draw::{Draw, SHUFFLE_BITS, Stream, shuffle};
use crate::illness::{
    COPD, CORONARY, DEMENTIA, DIABETES, FIBRILLATION, HYPERTENSION, Illness, STROKE, draw_illnesses,
};
use crate::{City, names, places};

/// The most elders of one city: the size of the register's permutation.
pub const ELDERS_MAX: u32 = 1 << SHUFFLE_BITS;

/// Age bands: youngest, oldest, and how many of 128 elders are men and women in it.
///
/// The shape of the seventh census (2020); people over 90 are drawn more often, so that small cities have some.
const BANDS: [(i32, i32, [u32; 2]); 8] = [
    (60, 64, [18, 17]),
    (65, 69, [16, 17]),
    (70, 74, [11, 12]),
    (75, 79, [7, 8]),
    (80, 84, [4, 6]),
    (85, 89, [2, 4]),
    (90, 94, [1, 2]),
    (95, 105, [1, 2]),
];
const SLOTS: u32 = 128;
/// Sequence numbers of one sex on one day.
const SEQUENCES: u64 = 500;

/// Sex as in the resident register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sex {
    /// Male: odd seventeenth digit.
    Male,
    /// Female: even seventeenth digit.
    Female,
}

impl Sex {
    /// The FHIR code of administrative gender.
    #[must_use]
    pub const fn fhir_code(self) -> &'static str {
        match self {
            Self::Male => "male",
            Self::Female => "female",
        }
    }
}

/// A relative or guardian.
#[derive(Clone, PartialEq, Eq)]
pub struct Contact {
    /// Full name.
    pub name: String,
    /// `配偶`, `儿子` or `女儿`.
    pub relation_zh: &'static str,
    /// Mobile number.
    pub phone: String,
    /// Whether this person is the elder's guardian.
    pub guardian: bool,
}

/// Usual readings of an elder, from which single readings scatter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Baseline {
    pub(crate) systolic_mmhg: i32,
    pub(crate) diastolic_mmhg: i32,
    pub(crate) heart_rate: i32,
    /// Tenths of mmol/L, fasting.
    pub(crate) glucose_tenths: i32,
    pub(crate) oxygen_percent: i32,
}

/// An elder. `Debug` prints the index only.
#[derive(Clone, PartialEq, Eq)]
pub struct Elder {
    /// Place in the city's register, from 0.
    pub index: u32,
    /// Resident identity number, valid, and unlike every other of the city.
    pub resident_id: String,
    /// Surname.
    pub family: &'static str,
    /// Given name.
    pub given: &'static str,
    /// Sex; agrees with the number.
    pub sex: Sex,
    /// Date of birth, `YYYY-MM-DD`; agrees with the number.
    pub birth_date: String,
    /// Completed years on the plan's day, 60-105.
    pub age_years: u8,
    /// Ethnic group: letters of GB/T 3304 and the Chinese name.
    pub ethnic_group: (&'static str, &'static str),
    /// Which of the city's counties the elder lives in.
    pub county: usize,
    /// Street, number, flat (without province, city and county).
    pub street: String,
    /// Mobile number, unless the elder has none.
    pub phone: Option<String>,
    /// Number of the social security card, unless unknown to the agencies.
    pub social_security: Option<String>,
    /// Family.
    pub contact: Contact,
    /// Illnesses.
    pub illnesses: Vec<&'static Illness>,
    /// Total of the ability assessment GB/T 42195-2022, 0-90.
    pub ability_score: u8,
    /// Its level, 0 (intact) to 4 (total loss), with the step for dementia.
    pub ability_level: u8,
    /// Agencies that know the elder (one to three), as places in [`City::agencies`]; the first is the home agency.
    pub known_at: Vec<usize>,
    pub(crate) baseline: Baseline,
}

impl fmt::Debug for Elder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "elder({})", self.index)
    }
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("contact(..)")
    }
}

impl Elder {
    /// Surname and given name.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}{}", self.family, self.given)
    }

    /// Whether the elder has this ICD-10 code.
    #[must_use]
    pub fn has(&self, icd10: &str) -> bool {
        self.illnesses.iter().any(|i| i.icd10 == icd10)
    }

    pub(crate) fn suffers(&self, illness: &Illness) -> bool {
        self.has(illness.icd10)
    }

    /// The elder of this index, or `None` past the register's end.
    pub(crate) fn generate(city: &City, index: u32) -> Option<Self> {
        if index >= city.plan().elders {
            return None;
        }
        let seed = city.plan().seed;
        let mut draw = Draw::new(seed, Stream::Elder, 0, index);
        let place = birth_place(seed, index, city.today());
        let male = place.male;
        let age = place.born.years_until(city.today());
        let resident_id = resident_id(city, &mut draw, &place)?;
        let born_year = place.born.ymd().0;
        let family = names::surname(&mut draw);
        let given = names::given_of_elder(&mut draw, male, born_year);
        let illnesses = draw_illnesses(&mut draw, male, age);
        let has = |i: &Illness| illnesses.iter().any(|x| x.icd10 == i.icd10);
        let (score, level) = ability(&mut draw, age, &has);
        let baseline = baseline(&mut draw, age, &has);
        let county = draw.below(u32::try_from(city.counties().len()).unwrap_or(1)) as usize;
        let contact = contact(&mut draw, family, male, born_year, level >= 3);
        Some(Self {
            index,
            resident_id,
            family,
            given,
            sex: if male { Sex::Male } else { Sex::Female },
            birth_date: place.born.iso(),
            age_years: u8::try_from(age).ok()?,
            ethnic_group: names::ethnic_group(&mut draw),
            county,
            street: street(&mut draw),
            // The older, the more often only the family has a telephone.
            phone: (!draw.chance(if age >= 80 { 400 } else { 100 })).then(|| mobile(&mut draw)),
            social_security: draw
                .chance(700)
                .then(|| format!("D{:08}", shuffle(!seed, index))),
            contact,
            illnesses,
            ability_score: score,
            ability_level: level,
            known_at: city.agencies_of(&mut draw, county, age),
            baseline,
        })
    }
}

/// Date of birth, sex and sequence number: together unlike those of every other elder of the city.
struct BirthPlace {
    born: Day,
    male: bool,
    sequence: u32,
}

/// The elder's index, shuffled, is cut into an age band and sex (by `BANDS`) and a number that no other elder of
/// that band and sex has; this number, spread over the band's days and sequence numbers, stays unique.
fn birth_place(seed: u64, index: u32, today: Day) -> BirthPlace {
    let shuffled = shuffle(seed, index);
    let (mut slot, rank) = (shuffled % SLOTS, u64::from(shuffled / SLOTS));
    let mut chosen = (60, 64, true, 1);
    'bands: for (youngest, oldest, shares) in BANDS {
        for (share, male) in shares.into_iter().zip([true, false]) {
            if slot < share {
                chosen = (youngest, oldest, male, share);
                break 'bands;
            }
            slot -= share;
        }
    }
    let (youngest, oldest, male, share) = chosen;
    let (y, m, d) = today.ymd();
    // The end of a month counts as its 28th, and the oldest days are left out: the bands stay apart and in their ages.
    let anniversary = |years: i32| Day::from_ymd(y - years, m, d.min(28));
    let (first, last) = (anniversary(oldest + 1).plus(4), anniversary(youngest));
    let days = u64::from((last.0 - first.0 + 1).unsigned_abs());
    let capacity = days * SEQUENCES;
    // A prime beyond any number of days: multiplying by it permutes 0..capacity. Room: 2^22 / 128 * share < capacity.
    let number = (rank * u64::from(share) + u64::from(slot)) * 1_000_003 % capacity;
    let born = first.plus(i32::try_from(number / SEQUENCES).unwrap_or(0));
    let sequence = u32::try_from(number % SEQUENCES).unwrap_or(0) * 2 + u32::from(male);
    BirthPlace {
        born,
        male,
        sequence,
    }
}

fn resident_id(city: &City, draw: &mut Draw, place: &BirthPlace) -> Option<String> {
    let area = match draw.below(100) {
        0..70 => draw.pick(city.counties()).code.to_string(),
        70..90 => draw.pick(city.origins()).to_string(),
        _ => draw.pick(&places::ABOLISHED).to_owned(),
    };
    ResidentId::complete(&format!(
        "{area}{}{:03}",
        place.born.digits(),
        place.sequence
    ))
}

/// A mobile number in ranges that, as far as known, no operator has given to subscribers.
fn mobile(draw: &mut Draw) -> String {
    let range = draw.pick(&["160", "161", "163", "164", "168", "169"]);
    format!("{range}{:08}", draw.below(100_000_000))
}

fn street(draw: &mut Draw) -> String {
    let street = draw.pick(&places::STREETS);
    let number = draw.range(1, 288);
    let estate = draw.pick(&places::COMMUNITIES);
    let (block, floor, flat) = (draw.range(1, 18), draw.range(1, 11), draw.range(1, 4));
    format!("{street}{number}号{estate}小区{block}栋{floor}-{flat}")
}

fn contact(draw: &mut Draw, family: &str, male: bool, born: i32, guardian: bool) -> Contact {
    let phone = mobile(draw);
    let spouse = draw.below(100) < if born > 1950 { 55 } else { 20 };
    let (name, relation_zh) = if spouse {
        let given = names::given_of_elder(draw, !male, born);
        (format!("{}{given}", names::surname(draw)), "配偶")
    } else {
        let son = draw.chance(550);
        // Children bear their father's surname.
        let surname = if male { family } else { names::surname(draw) };
        let given = names::given_of_child(draw, son);
        (
            format!("{surname}{given}"),
            if son { "儿子" } else { "女儿" },
        )
    };
    Contact {
        name,
        relation_zh,
        phone,
        guardian,
    }
}

/// Score and level of GB/T 42195-2022: 90 is 0, 66-89 is 1, 46-65 is 2, 30-45 is 3, below is 4; dementia one level worse.
fn ability(draw: &mut Draw, age: i32, has: &dyn Fn(&Illness) -> bool) -> (u8, u8) {
    let mut lost = (age - 68) * 3 / 4 + draw.range(-6, 8);
    if has(&STROKE) {
        lost += draw.range(8, 40);
    }
    if has(&DEMENTIA) {
        lost += draw.range(15, 50);
    }
    let score = (90 - lost).clamp(0, 90);
    let level = match score {
        90.. => 0,
        66..=89 => 1,
        46..=65 => 2,
        30..=45 => 3,
        _ => 4,
    };
    let level = (level + u8::from(has(&DEMENTIA))).min(4);
    (u8::try_from(score).unwrap_or(0), level)
}

fn baseline(draw: &mut Draw, age: i32, has: &dyn Fn(&Illness) -> bool) -> Baseline {
    let more = |illness: &Illness, amount: i32| if has(illness) { amount } else { 0 };
    let systolic = draw.bell(122 + (age - 60) / 5 + more(&HYPERTENSION, 18), 6);
    let diastolic = draw.bell(74 + more(&HYPERTENSION, 9) - (age - 60) / 8, 4);
    Baseline {
        systolic_mmhg: systolic,
        diastolic_mmhg: diastolic.min(systolic - 25),
        heart_rate: draw.bell(
            72 + more(&FIBRILLATION, 16) + more(&COPD, 6) - more(&CORONARY, 4),
            5,
        ),
        glucose_tenths: draw.bell(53 + more(&DIABETES, 29), if has(&DIABETES) { 9 } else { 3 }),
        oxygen_percent: draw.bell(97 - more(&COPD, 4), 1).min(99),
    }
}
