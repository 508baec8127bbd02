//! A believable synthetic city from a seed: agencies, elders, and the FHIR records agencies hold about them.
//!
//! What it is for: tests, drills, demonstrations and measurements without one real person.
//! What comes in: a [`Plan`] (seed, sizes, district, day). What goes out: [`Agency`], [`Elder`], [`Record`], or a folder of files.
//! What it may touch: nothing, except in [`folder`], which writes below the directory it is given.
//! Where to start reading: [`City`], then `records` (who holds what), then [`elder`].
#![forbid(unsafe_code)]

mod admin;
mod agency;
mod calendar;
mod care;
mod chart;
mod clinical;
mod draw;
pub mod elder;
mod exam;
pub mod folder;
mod illness;
mod json;
mod names;
mod places;
mod records;
mod signs;

#[cfg(test)]
mod tests;

use record::{AgencyKind, DistrictCode, RecordTypeCode, Timestamp};

use crate::calendar::Day;
use crate::draw::{Draw, Stream};

pub use crate::agency::Agency;
pub use crate::elder::{Contact, ELDERS_MAX, Elder, Sex};
pub use crate::illness::Illness;
pub use crate::records::{RECORD_TYPES, Record};

/// FHIR system of unified social credit codes in the records (no published canonical was found).
pub const CREDIT_CODE_SYSTEM: &str = "urn:songhe:credit-code";

/// What city to make. The same plan gives the same bytes on every machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// How many elders: 1 to [`ELDERS_MAX`]. An elder's records do not depend on it.
    pub elders: u32,
    /// How many hospitals, may be 0.
    pub hospitals: u16,
    /// How many civil-affairs bureaus, may be 0.
    pub bureaus: u16,
    /// How many community platforms, may be 0.
    pub communities: u16,
    /// A county, or a city or province with all its counties (GB/T 2260, table of 2023).
    pub district: DistrictCode,
    /// The city's present day in China: ages count to it, records end before it, appointments lie after it.
    pub today: Timestamp,
}

/// Why a plan cannot be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlan {
    /// No elders or too many.
    #[error("a city has 1 to {ELDERS_MAX} elders; choose another number")]
    Elders,
    /// No agency at all.
    #[error("a city needs at least one hospital, bureau or community; ask for one")]
    NoAgency,
    /// The district is not in the table.
    #[error("the district is not in the table of 2023; choose a county, city or province of it")]
    District,
    /// The day is outside 2015 to 2040.
    #[error("the city's day must lie between 2015 and 2040; choose another day")]
    Today,
}

/// A county of the city.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct County {
    /// Its code.
    pub code: DistrictCode,
    /// Its Chinese name.
    pub name: &'static str,
}

/// A city: everything about it follows from its plan; it holds the agencies, but no elder.
#[derive(Clone, Debug)]
pub struct City {
    plan: Plan,
    today: Day,
    city_name: String,
    counties: Vec<County>,
    origins: Vec<DistrictCode>,
    agencies: Vec<Agency>,
    pub(crate) codes: Vec<RecordTypeCode>,
}

impl City {
    /// Lays out a city.
    ///
    /// # Errors
    /// [`InvalidPlan`] says which number of the plan to change.
    pub fn new(plan: Plan) -> Result<Self, InvalidPlan> {
        if plan.elders == 0 || plan.elders > ELDERS_MAX {
            return Err(InvalidPlan::Elders);
        }
        let (y, m, d) = plan.today.date_in_china();
        if !(2015..=2040).contains(&y) {
            return Err(InvalidPlan::Today);
        }
        let name = plan.district.name().ok_or(InvalidPlan::District)?;
        let mut counties: Vec<County> = DistrictCode::counties()
            .filter(|(code, _)| plan.district.contains(*code))
            .map(|(code, name)| County { code, name })
            .collect();
        if counties.is_empty() {
            // A city without counties, such as 441900.
            counties.push(County {
                code: plan.district,
                name,
            });
        }
        let agencies: Vec<Agency> = [
            (AgencyKind::Hospital, plan.hospitals),
            (AgencyKind::CivilAffairs, plan.bureaus),
            (AgencyKind::Community, plan.communities),
        ]
        .into_iter()
        .flat_map(|(kind, count)| (0..usize::from(count)).map(move |nth| (kind, nth)))
        .enumerate()
        .filter_map(|(ordinal, (kind, nth))| agency::agency(kind, nth, ordinal, &counties))
        .collect();
        if agencies.is_empty() {
            return Err(InvalidPlan::NoAgency);
        }
        Ok(Self {
            today: Day::from_ymd(y.into(), m.into(), d.into()),
            city_name: city_name(plan.district, name),
            counties,
            origins: DistrictCode::counties().map(|(code, _)| code).collect(),
            agencies,
            codes: records::codes(),
            plan,
        })
    }

    /// The plan.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Its agencies: hospitals, then bureaus, then communities.
    #[must_use]
    pub fn agencies(&self) -> &[Agency] {
        &self.agencies
    }

    /// Its counties.
    #[must_use]
    pub fn counties(&self) -> &[County] {
        &self.counties
    }

    /// The elder of this index, or `None` from `plan.elders` on. Costs the same for every index.
    #[must_use]
    pub fn elder(&self, index: u32) -> Option<Elder> {
        Elder::generate(self, index)
    }

    /// Every elder, one at a time.
    pub fn elders(&self) -> impl Iterator<Item = Elder> + '_ {
        (0..self.plan.elders).filter_map(|i| self.elder(i))
    }

    /// Every record about this elder at every agency that knows the elder, about 15 to 45 of them.
    #[must_use]
    pub fn records_of(&self, elder: &Elder) -> Vec<Record> {
        records::records_of(self, elder)
    }

    /// Every record of the city, facilities first, then elder by elder; holds one elder's records at a time.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        self.facilities()
            .chain(self.elders().flat_map(|e| self.records_of(&e)))
    }

    /// What agencies publish about themselves: one `Organization` and one `Location` each.
    pub fn facilities(&self) -> impl Iterator<Item = Record> + '_ {
        (0..self.agencies.len()).flat_map(|i| admin::facility(self, i))
    }

    /// The id of the elder's `Patient` at the agency with this place in [`City::agencies`]; unlike at every other agency.
    #[must_use]
    pub fn patient_id(&self, agency: usize, elder: u32) -> String {
        let agency = u32::try_from(agency).unwrap_or(u32::MAX);
        Draw::new(self.plan.seed, Stream::PatientId, agency, elder).hex16()
    }

    pub(crate) const fn today(&self) -> Day {
        self.today
    }

    pub(crate) fn city_name(&self) -> &str {
        &self.city_name
    }

    pub(crate) fn origins(&self) -> &[DistrictCode] {
        &self.origins
    }

    /// The agencies that know an elder of this county and age: home agencies first, three at most, one at least.
    pub(crate) fn agencies_of(&self, draw: &mut Draw, county: usize, age: i32) -> Vec<usize> {
        let hospitals = usize::from(self.plan.hospitals);
        let bureaus = usize::from(self.plan.bureaus);
        let communities = usize::from(self.plan.communities);
        let hospital = self.near(draw, county, 0, hospitals);
        let bureau = self.near(draw, county, hospitals, bureaus);
        let community = self.near(draw, county, hospitals + bureaus, communities);
        // Another hospital of the city: there examinations are recognised and referrals end.
        let other = hospital.filter(|_| hospitals > 1).map(|h| {
            let step = 1 + draw.below(u32::from(self.plan.hospitals) - 1) as usize;
            (h + step) % hospitals
        });
        // From 80 on the allowance brings everyone to the bureau.
        let chosen = match draw.below(100) {
            0..8 if age < 80 => [hospital, None, None],
            8..18 if age < 80 => [hospital, community, None],
            18..36 if age < 80 => [hospital, community, other],
            0..20 => [hospital, bureau, None],
            20..30 => [hospital, bureau, other],
            _ => [hospital, bureau, community],
        };
        let known: Vec<usize> = chosen.into_iter().flatten().collect();
        if known.is_empty() {
            // A plan without that kind of agency: whoever there is.
            return [hospital, community, bureau]
                .into_iter()
                .flatten()
                .take(1)
                .collect();
        }
        known
    }

    /// One of `count` agencies from `first` on: in the county if one lies there, else the county's usual one.
    fn near(&self, draw: &mut Draw, county: usize, first: usize, count: usize) -> Option<usize> {
        let counties = self.counties.len().max(1);
        // Agencies go round the counties: those of this county are `county`, `county + counties`, …
        let here = count.saturating_sub(county).div_ceil(counties);
        let nth = match u32::try_from(here) {
            Ok(0) | Err(_) if count == 0 => return None,
            Ok(0) | Err(_) => county % count,
            Ok(n) => county + counties * draw.below(n) as usize,
        };
        Some(first + nth)
    }
}

/// How addresses name the city above the counties: province and city, without the fillers of the table.
fn city_name(district: DistrictCode, name: &str) -> String {
    let code: u32 = district.to_string().parse().unwrap_or(0);
    let above = |unit: u32| {
        DistrictCode::parse(&format!("{:06}", code / unit * unit))
            .ok()
            .filter(|d| *d != district)
            .and_then(DistrictCode::name)
            .filter(|n| {
                !matches!(
                    *n,
                    "市辖区" | "县" | "省直辖县级行政区划" | "自治区直辖县级行政区划"
                )
            })
    };
    let mut text = above(10_000).unwrap_or_default().to_owned();
    text.push_str(above(100).unwrap_or_default());
    if code.is_multiple_of(100) && name != "市辖区" && name != "县" {
        text.push_str(name);
    }
    text
}
