//! The city's agencies: names, credit codes, districts; how many there are of each kind is the plan's matter.

use record::{AgencyKind, CreditCode, DistrictCode, MemberId};

use crate::County;

/// An agency that runs a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agency {
    /// Its name in the federation: `hospital-1`, `civil-affairs-1`, `community-1`, …
    pub member: MemberId,
    /// Chinese name, unlike every other of the city.
    pub name_zh: String,
    /// English name, with the district's number (no table of romanised districts is at hand).
    pub name_en: String,
    /// Its kind.
    pub kind: AgencyKind,
    /// Unified social credit code with a right check character; the organisation part begins with `DE` (demonstration).
    pub credit_code: CreditCode,
    /// The county it lies in.
    pub district: DistrictCode,
}

/// Kinds of hospitals, in the order a county gets them.
const HOSPITALS: [(&str, &str); 6] = [
    ("人民医院", "People's Hospital"),
    ("中医院", "Hospital of Traditional Chinese Medicine"),
    ("中心医院", "Central Hospital"),
    ("老年病医院", "Geriatric Hospital"),
    ("康复医院", "Rehabilitation Hospital"),
    ("妇幼保健院", "Maternal and Child Health Hospital"),
];

/// The `nth` agency of a kind (from 0) in a city of these counties; `ordinal` counts agencies of all kinds from 0.
///
/// Agencies go round the counties, so the `nth` lies in county `nth` mod their number.
pub(crate) fn agency(
    kind: AgencyKind,
    nth: usize,
    ordinal: usize,
    counties: &[County],
) -> Option<Agency> {
    let county = counties.get(nth % counties.len().max(1))?;
    let round = nth / counties.len().max(1);
    let (zh, en) = match kind {
        AgencyKind::Hospital => HOSPITALS.get(round).map_or_else(
            || {
                let number = round + 1 - HOSPITALS.len();
                (format!("第{number}医院"), format!("Hospital No. {number}"))
            },
            |(zh, en)| ((*zh).to_owned(), (*en).to_owned()),
        ),
        AgencyKind::CivilAffairs if round == 0 => {
            ("民政局".to_owned(), "Civil Affairs Bureau".to_owned())
        }
        AgencyKind::CivilAffairs => (
            format!("民政局第{round}分局"),
            format!("Civil Affairs Bureau, Branch {round}"),
        ),
        AgencyKind::Community => {
            let names = &crate::places::COMMUNITIES;
            let name = names.get(round % names.len())?;
            let zh_number = match round / names.len() {
                0 => String::new(),
                more => format!("第{}", more + 1),
            };
            (
                format!("{name}社区{zh_number}养老服务中心"),
                format!("Community Elder Care Centre {}", round + 1),
            )
        }
    };
    Some(Agency {
        member: MemberId::parse(&format!("{kind}-{}", nth + 1)).ok()?,
        name_zh: format!("{}{zh}", county.name),
        name_en: format!("{en}, District {}", county.code),
        kind,
        credit_code: credit_code(kind, ordinal, county.code)?,
        district: county.code,
    })
}

/// Registering department and kind (GB 32100-2015, 4.2), district, organisation code (GB 11714-1997), check character.
fn credit_code(kind: AgencyKind, ordinal: usize, district: DistrictCode) -> Option<CreditCode> {
    let register = match kind {
        AgencyKind::Hospital => "12",     // public institution
        AgencyKind::CivilAffairs => "11", // organ of state
        AgencyKind::Community => "52",    // private non-enterprise unit
    };
    let organisation = format!("DE{ordinal:06}");
    let check = organisation_check(&organisation)?;
    CreditCode::from_body(&format!("{register}{district}{organisation}{check}"))
}

/// GB 11714-1997: 11 - sum mod 11 over weights 3 7 9 10 5 8 4 2, 10 written X, 11 written 0.
fn organisation_check(code: &str) -> Option<char> {
    let mut sum = 0;
    for (c, weight) in code.chars().zip([3, 7, 9, 10, 5, 8, 4, 2]) {
        sum += c.to_digit(36)? * weight;
    }
    match 11 - sum % 11 {
        10 => Some('X'),
        11 => Some('0'),
        n => char::from_digit(n, 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_organisation_check_follows_the_standard() {
        // Worked example of GB 11714: D2143569-X.
        assert_eq!(organisation_check("D2143569"), Some('X'));
    }
}
