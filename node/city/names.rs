//! Chinese names: surnames by frequency, given names of the generation born 1920-1966 and of their children.

use crate::draw::Draw;

/// Common surnames with their rough share of the population in units of 0.05 %, after the published rankings.
const SURNAMES: [(&str, u32); 100] = [
    ("王", 143),
    ("李", 141),
    ("张", 135),
    ("刘", 103),
    ("陈", 91),
    ("杨", 61),
    ("黄", 45),
    ("赵", 41),
    ("吴", 40),
    ("周", 38),
    ("徐", 28),
    ("孙", 25),
    ("马", 25),
    ("朱", 24),
    ("胡", 23),
    ("郭", 22),
    ("何", 21),
    ("林", 21),
    ("罗", 19),
    ("高", 19),
    ("梁", 17),
    ("郑", 16),
    ("谢", 15),
    ("宋", 14),
    ("唐", 14),
    ("许", 13),
    ("韩", 13),
    ("邓", 12),
    ("冯", 12),
    ("曹", 12),
    ("彭", 11),
    ("曾", 11),
    ("肖", 11),
    ("田", 10),
    ("董", 10),
    ("潘", 9),
    ("袁", 9),
    ("蔡", 9),
    ("蒋", 9),
    ("余", 9),
    ("于", 8),
    ("杜", 8),
    ("叶", 8),
    ("程", 8),
    ("魏", 8),
    ("苏", 8),
    ("吕", 8),
    ("丁", 8),
    ("任", 7),
    ("卢", 7),
    ("姚", 7),
    ("沈", 7),
    ("钟", 7),
    ("姜", 7),
    ("崔", 7),
    ("谭", 7),
    ("陆", 6),
    ("范", 6),
    ("汪", 6),
    ("廖", 6),
    ("石", 6),
    ("金", 6),
    ("韦", 5),
    ("贾", 5),
    ("夏", 5),
    ("付", 5),
    ("方", 5),
    ("邹", 5),
    ("熊", 5),
    ("白", 5),
    ("孟", 4),
    ("秦", 4),
    ("邱", 4),
    ("侯", 4),
    ("江", 4),
    ("尹", 4),
    ("薛", 4),
    ("闫", 4),
    ("段", 4),
    ("雷", 4),
    ("龙", 4),
    ("黎", 3),
    ("史", 3),
    ("陶", 3),
    ("贺", 3),
    ("毛", 3),
    ("郝", 3),
    ("顾", 3),
    ("龚", 3),
    ("邵", 3),
    ("万", 3),
    ("覃", 3),
    ("武", 3),
    ("钱", 3),
    ("戴", 3),
    ("严", 3),
    ("莫", 3),
    ("孔", 3),
    ("向", 3),
    ("欧阳", 2),
];

/// Men born before 1946.
const MEN_EARLY: [&str; 44] = [
    "德福", "福贵", "长生", "金山", "树林", "玉林", "文斌", "世昌", "德明", "永福", "光荣", "正清",
    "有才", "万和", "守义", "振海", "宝山", "庆余", "兴旺", "春生", "国栋", "维新", "绍文", "继先",
    "传德", "耀庭", "松年", "鹤亭", "天佑", "孝先", "明德", "仁义", "清泉", "占魁", "洪顺", "凤山",
    "志远", "学文", "书田", "善堂", "桂生", "全有", "炳南", "启明",
];
/// Men born from 1946 to 1966.
const MEN_LATE: [&str; 44] = [
    "建国", "志强", "建华", "国强", "卫国", "援朝", "跃进", "解放", "建军", "志明", "文革", "新民",
    "国庆", "和平", "永强", "志刚", "立新", "爱民", "保国", "胜利", "建平", "国平", "光明", "卫东",
    "向阳", "红星", "学军", "大伟", "德胜", "振华", "兴华", "建设", "家兴", "长江", "少华", "世明",
    "守成", "仁杰", "正国", "朝阳", "克勤", "广田", "荣华", "忠良",
];
/// Women born before 1946.
const WOMEN_EARLY: [&str; 44] = [
    "秀英", "桂兰", "淑珍", "玉兰", "凤英", "秀兰", "桂英", "玉珍", "素珍", "淑英", "桂芝", "凤兰",
    "玉英", "淑兰", "翠英", "桂珍", "素芬", "金花", "银花", "月娥", "菊香", "兰英", "莲香", "巧云",
    "桂香", "惠珍", "碧珍", "素清", "淑贞", "静娴", "雅芝", "瑞芝", "春兰", "秋菊", "冬梅", "贵珍",
    "福英", "世英", "元秀", "光秀", "德芳", "永珍", "朝秀", "开珍",
];
/// Women born from 1946 to 1966.
const WOMEN_LATE: [&str; 44] = [
    "丽华", "建英", "淑华", "秀珍", "桂芳", "玉梅", "爱华", "建华", "红梅", "秀云", "淑芳", "玉华",
    "春梅", "秀芳", "国英", "小兰", "爱珍", "翠兰", "美华", "桂荣", "晓红", "卫红", "永红", "新华",
    "惠芳", "慧敏", "月琴", "雪梅", "海燕", "凤霞", "彩霞", "丽君", "亚萍", "素华", "文英", "小玲",
    "淑琴", "凤琴", "桂琴", "跃珍", "胜兰", "平安", "爱莲", "兴芬",
];
/// Their sons.
const SONS: [&str; 24] = [
    "伟", "强", "军", "勇", "磊", "涛", "波", "鹏", "建伟", "志勇", "晓东", "海波", "俊杰", "文涛",
    "明辉", "小军", "永刚", "立军", "宏伟", "春雷", "国华", "世杰", "家辉", "正涛",
];
/// Their daughters.
const DAUGHTERS: [&str; 24] = [
    "敏", "静", "丽", "艳", "娟", "霞", "燕", "玲", "晓燕", "丽娜", "海霞", "婷婷", "春燕", "小琴",
    "雪莲", "文静", "佳慧", "红霞", "秋月", "莉莉", "晓梅", "利萍", "世芳", "永梅",
];

/// Ethnic groups: letters of GB/T 3304, name, weight.
const ETHNIC: [((&str, &str), u32); 8] = [
    (("HA", "汉族"), 915),
    (("ZH", "壮族"), 14),
    (("HU", "回族"), 16),
    (("MA", "满族"), 15),
    (("MH", "苗族"), 12),
    (("TJ", "土家族"), 14),
    (("YI", "彝族"), 8),
    (("MG", "蒙古族"), 6),
];

/// A surname.
pub(crate) fn surname(draw: &mut Draw) -> &'static str {
    draw.pick_weighted(&SURNAMES)
}

/// A given name usual for someone of this sex born in this year.
pub(crate) fn given_of_elder(draw: &mut Draw, male: bool, born: i32) -> &'static str {
    // Fashions overlap: the later names begin to appear ten years before they rule.
    let late = born + draw.range(-5, 5) >= 1946;
    match (male, late) {
        (true, false) => draw.pick(&MEN_EARLY),
        (true, true) => draw.pick(&MEN_LATE),
        (false, false) => draw.pick(&WOMEN_EARLY),
        (false, true) => draw.pick(&WOMEN_LATE),
    }
}

/// A given name usual for a child of the elders.
pub(crate) fn given_of_child(draw: &mut Draw, male: bool) -> &'static str {
    if male {
        draw.pick(&SONS)
    } else {
        draw.pick(&DAUGHTERS)
    }
}

/// A staff member as staff are called: surname and title.
pub(crate) fn staff(draw: &mut Draw, title: &str) -> String {
    format!("{}{title}", surname(draw))
}

/// An ethnic group: letters of GB/T 3304 and the Chinese name.
pub(crate) fn ethnic_group(draw: &mut Draw) -> (&'static str, &'static str) {
    draw.pick_weighted(&ETHNIC)
}
