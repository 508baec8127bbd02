//! Places: streets, estates, where a province lies, and district codes that were abolished but live on in people's numbers.

use record::DistrictCode;

/// Codes once given to people and since abolished; none is in the district table of 2023.
///
/// Beijing (Chongwen, Xuanwu), Shanghai (Luwan, Nanhui), Nanjing (Baixia, Xiaguan), Hangzhou (Xiacheng, Jianggan),
/// and Chongqing before it became a municipality.
pub(crate) const ABOLISHED: [&str; 12] = [
    "110103", "110104", "310103", "310119", "310225", "320103", "320107", "330103", "330104",
    "510202", "510212", "510221",
];

/// Street names that exist in many cities.
pub(crate) const STREETS: [&str; 24] = [
    "人民路",
    "解放路",
    "建设路",
    "和平路",
    "新华路",
    "中山路",
    "胜利路",
    "文化路",
    "长江路",
    "松柏路",
    "双凤路",
    "桂花路",
    "龙山路",
    "青年路",
    "迎宾大道",
    "育才路",
    "滨河路",
    "光明路",
    "红旗路",
    "东风路",
    "北环路",
    "南门街",
    "老码头街",
    "学府路",
];

/// Names of communities (neighbourhoods).
pub(crate) const COMMUNITIES: [&str; 24] = [
    "松鹤",
    "康乐",
    "春晖",
    "福寿",
    "长青",
    "安宁",
    "和顺",
    "桂园",
    "翠湖",
    "金桂",
    "银杏",
    "华新",
    "同心",
    "百岁",
    "锦绣",
    "碧水",
    "阳光",
    "幸福里",
    "仁和",
    "龙溪",
    "石桥",
    "双湖",
    "观音桥",
    "黄葛树",
];

/// About the middle of each province, hundredths of a degree north and east.
const PROVINCES: [(u32, i32, i32); 31] = [
    (11, 3990, 11640),
    (12, 3910, 11720),
    (13, 3800, 11450),
    (14, 3790, 11250),
    (15, 4080, 11170),
    (21, 4180, 12340),
    (22, 4390, 12530),
    (23, 4570, 12660),
    (31, 3120, 12140),
    (32, 3210, 11880),
    (33, 3030, 12020),
    (34, 3180, 11720),
    (35, 2610, 11930),
    (36, 2870, 11590),
    (37, 3670, 11700),
    (41, 3470, 11360),
    (42, 3060, 11430),
    (43, 2820, 11290),
    (44, 2310, 11330),
    (45, 2280, 10830),
    (46, 2000, 11030),
    (50, 2960, 10650),
    (51, 3060, 10400),
    (52, 2660, 10670),
    (53, 2500, 10270),
    (54, 2970, 9110),
    (61, 3430, 10890),
    (62, 3610, 10380),
    (63, 3660, 10180),
    (64, 3850, 10620),
    (65, 4380, 8760),
];

/// A point a county might lie at, in 0.00001 degree north and east: near its province's middle, the same for every city.
///
/// Not surveyed: a synthetic elder walks near a synthetic centre.
pub(crate) fn centre(county: DistrictCode) -> (i32, i32) {
    let code: u32 = county.to_string().parse().unwrap_or(0);
    let (_, north, east) = PROVINCES
        .iter()
        .find(|(p, ..)| *p == code / 10_000)
        .copied()
        .unwrap_or((0, 3300, 10800));
    // Up to about half a degree away, spread by the last four digits.
    let spread = |salt: u32| ((code % 10_000) * salt % 997).cast_signed() * 100 - 49_800;
    (north * 1000 + spread(37), east * 1000 + spread(101))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abolished_codes_are_not_in_the_table() {
        for code in ABOLISHED {
            assert_eq!(DistrictCode::parse(code).unwrap().name(), None, "{code}");
        }
    }

    #[test]
    fn every_county_lies_in_the_country() {
        for (county, name) in DistrictCode::counties() {
            let (north, east) = centre(county);
            assert!((1_800_000..5_400_000).contains(&north), "{name} {north}");
            assert!((7_300_000..13_500_000).contains(&east), "{name} {east}");
        }
    }
}
