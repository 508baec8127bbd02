//! Illnesses common among elders: ICD-10 code, how frequent by age, what is taken for them.

use crate::draw::Draw;

/// An illness as doctors in China write it.
///
/// Frequencies are rough and serve believability, not epidemiology.
#[derive(Debug, PartialEq, Eq)]
pub struct Illness {
    /// ICD-10 code.
    pub icd10: &'static str,
    /// Chinese name.
    pub name_zh: &'static str,
    /// Whether it belongs to the diagnoses that many policies hide (infections of data level 5, mental illness).
    pub sensitive: bool,
    /// Cases per thousand men and women of 60.
    at_60: [u32; 2],
    /// More cases per thousand for each further year.
    a_year: u32,
    /// Medicines usual for it; an elder takes the first and perhaps the others.
    pub(crate) medicines: &'static [Medicine],
}

/// A medicine: ATC code and how it is taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Medicine {
    pub(crate) atc: &'static str,
    pub(crate) name_zh: &'static str,
    /// One dose in tenths of the unit.
    pub(crate) dose_tenths: i64,
    /// UCUM code of the unit.
    pub(crate) unit: &'static str,
    pub(crate) times_a_day: i32,
}

const fn medicine(
    atc: &'static str,
    name_zh: &'static str,
    dose_tenths: i64,
    unit: &'static str,
    times_a_day: i32,
) -> Medicine {
    Medicine {
        atc,
        name_zh,
        dose_tenths,
        unit,
        times_a_day,
    }
}

const fn illness(
    icd10: &'static str,
    name_zh: &'static str,
    at_60: [u32; 2],
    a_year: u32,
    medicines: &'static [Medicine],
) -> Illness {
    Illness {
        icd10,
        name_zh,
        sensitive: false,
        at_60,
        a_year,
        medicines,
    }
}

pub(crate) static HYPERTENSION: Illness = illness(
    "I10",
    "高血压病",
    [470, 440],
    7,
    &[
        medicine("C08CA01", "苯磺酸氨氯地平片", 50, "mg", 1),
        medicine("C09CA03", "缬沙坦胶囊", 800, "mg", 1),
    ],
);
pub(crate) static DIABETES: Illness = illness(
    "E11.9",
    "2型糖尿病",
    [200, 190],
    2,
    &[
        medicine("A10BA02", "盐酸二甲双胍片", 5000, "mg", 2),
        medicine("A10BF01", "阿卡波糖片", 500, "mg", 3),
    ],
);
pub(crate) static CORONARY: Illness = illness(
    "I25.1",
    "冠状动脉粥样硬化性心脏病",
    [150, 110],
    7,
    &[
        medicine("B01AC06", "阿司匹林肠溶片", 1000, "mg", 1),
        medicine("C10AA05", "阿托伐他汀钙片", 200, "mg", 1),
        medicine("C07AB02", "琥珀酸美托洛尔缓释片", 475, "mg", 1),
    ],
);
pub(crate) static STROKE: Illness = illness(
    "I69.3",
    "脑梗死后遗症",
    [70, 50],
    5,
    &[medicine("B01AC04", "硫酸氢氯吡格雷片", 750, "mg", 1)],
);
pub(crate) static DEMENTIA: Illness = illness(
    "F03",
    "痴呆",
    [10, 15],
    8,
    &[medicine("N06DA02", "盐酸多奈哌齐片", 50, "mg", 1)],
);
pub(crate) static COPD: Illness = illness(
    "J44.9",
    "慢性阻塞性肺疾病",
    [120, 60],
    4,
    &[medicine("R03BB04", "噻托溴铵粉吸入剂", 180, "ug", 1)],
);
static OSTEOPOROSIS: Illness = illness(
    "M81.9",
    "骨质疏松症",
    [80, 260],
    7,
    &[
        medicine("A12AX", "碳酸钙D3片", 6000, "mg", 1),
        medicine("M05BA04", "阿仑膦酸钠片", 700, "mg", 1),
    ],
);
static CATARACT: Illness = illness(
    "H25.9",
    "老年性白内障",
    [120, 140],
    12,
    &[medicine("S01XA", "吡诺克辛滴眼液", 10, "{drop}", 4)],
);
static GONARTHROSIS: Illness = illness(
    "M17.9",
    "膝关节骨关节炎",
    [120, 230],
    5,
    &[medicine("M01AX05", "硫酸氨基葡萄糖胶囊", 5000, "mg", 3)],
);
pub(crate) static FIBRILLATION: Illness = illness(
    "I48.9",
    "心房颤动",
    [20, 15],
    3,
    &[medicine("B01AF01", "利伐沙班片", 150, "mg", 1)],
);
static DEAFNESS: Illness = illness("H91.1", "老年性聋", [100, 80], 11, &[]);
static DEPRESSION: Illness = Illness {
    sensitive: true,
    ..illness(
        "F32.9",
        "抑郁发作",
        [25, 45],
        1,
        &[medicine("N06AB06", "盐酸舍曲林片", 500, "mg", 1)],
    )
};
static HEPATITIS_B: Illness = Illness {
    sensitive: true,
    ..illness(
        "B18.1",
        "慢性乙型病毒性肝炎",
        [45, 30],
        0,
        &[medicine("J05AF10", "恩替卡韦分散片", 5, "mg", 1)],
    )
};
static HIV: Illness = Illness {
    sensitive: true,
    ..illness(
        "B24",
        "人类免疫缺陷病毒病",
        [3, 1],
        0,
        &[medicine(
            "J05AF07",
            "富马酸替诺福韦二吡呋酯片",
            3000,
            "mg",
            1,
        )],
    )
};

static ALL: [&Illness; 14] = [
    &HYPERTENSION,
    &DIABETES,
    &CORONARY,
    &STROKE,
    &DEMENTIA,
    &COPD,
    &OSTEOPOROSIS,
    &CATARACT,
    &GONARTHROSIS,
    &FIBRILLATION,
    &DEAFNESS,
    &DEPRESSION,
    &HEPATITIS_B,
    &HIV,
];

/// The illnesses of someone of this sex and age, in the order of the table.
pub(crate) fn draw_illnesses(draw: &mut Draw, male: bool, age: i32) -> Vec<&'static Illness> {
    let past_60 = age.saturating_sub(60).max(0).unsigned_abs();
    ALL.into_iter()
        .filter(|i| {
            let [man, woman] = i.at_60;
            draw.chance((if male { man } else { woman } + i.a_year * past_60).min(850))
        })
        .collect()
}
