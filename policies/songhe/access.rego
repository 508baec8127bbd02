# METADATA
# title: 谁可以看到什么 / Who may see what
# description: >
#   Decides, for each record type asked for, how much may leave the node and why not more.
#   A pure function of (input, data): the node puts the clock into input.env.now, so that every
#   decision can be asked again later. What changes from city to city stands in data.tables;
#   the rules below say how the tables are read. Portable profile 1: no call under `not`,
#   no `every`, no `with`, no sprintf, total functions, a default for every scalar.
# scope: package
# custom:
#   policy_id: songhe.access
#   contract: 1
#   profile: 1
package songhe.access

import data.tables as cfg

# METADATA
# title: 给节点的一份答复 / The one document the node reads
# entrypoint: true
decision := {
	"v": 1,
	"types": grants,
	"obligations": obligations,
	"reasons": sort(request_reasons),
	"policy_version": policy_version,
}

# ------------------------------------------------------------ 请求 / the request, with defaults

# METADATA
# title: 策略表版本 / Version of the tables
default policy_version := "unknown"

policy_version := cfg.version

# METADATA
# title: 问卷版本 / Version of the question
default contract := 0

contract := input.v

# METADATA
# title: 动作 / The verb
default verb := ""

verb := input.verb

# METADATA
# title: 用途 / The purpose claimed
default purpose := ""

purpose := input.purpose

# METADATA
# title: 合法依据 / The lawful basis claimed
default basis := ""

basis := input.basis

# METADATA
# title: 请求机构类别 / The kind of agency that asks
default kind := ""

kind := input.requester.kind

# METADATA
# title: 请求人员角色 / The role of the person who asks
default role := ""

role := input.role

# METADATA
# title: 当前时间 / The clock, in seconds since the epoch
# description: Without a clock every consent has expired (the default is the end of the year 9999).
default now := 253402300799

now := input.env.now

# METADATA
# title: 问题可理解 / The question is of a version and verb this policy knows
# description: Without the list of consents it is not, because a refusal may stand there.
understood if {
	contract == 1
	verb in ["fetch", "locate"]
	is_array(input.consents)
}

# METADATA
# title: 所问类型及级别 / What is asked for, with its data level
# description: A type that is named twice counts with its highest level.
asked := {code: level |
	some t in input.types
	code := t.code
	level := known_level(max([object.get(other, "level", 9) |
		some other in input.types
		other.code == code
	]))
}

# METADATA
# title: 未分级按最高处理 / A level nobody knows lies above every ceiling
known_level(level) := level if {
	level in [1, 2, 3, 4, 5]
} else := 9

# ------------------------------------------------------------ 一、角色与用途 / 1. role and purpose

# METADATA
# title: 权限表中的一行 / The row of the table for this agency, role and purpose
row := object.get(cfg.access, [kind, role, purpose], {})

# METADATA
# title: 公开数据向会员开放 / Public data is open to the people of every member who may ask at all
public_reader if {
	kind in cfg.kinds
	role in cfg.asking_roles
	purpose in cfg.purposes
}

# METADATA
# title: 列表为空即全部类型 / An empty list of types means every type
listed(types, code) if {
	count(types) == 0
} else if {
	code in types
} else := false

# METADATA
# title: 权限表允许的层级 / The tier that role and purpose allow
tier_by_role(code, level) := "full" if {
	understood
	public_reader
	level == 1
} else := "full" if {
	understood
	level <= row.full
	listed(row.full_types, code)
} else := "masked" if {
	understood
	level <= row.masked
	listed(row.masked_types, code)
} else := "none"

# METADATA
# title: 权限表为何不允许 / Why role and purpose allow nothing
role_reason(level) := "REQUEST_MALFORMED" if {
	not understood
} else := "LEVEL_TOO_HIGH" if {
	level > max([row.full, row.masked])
} else := "PURPOSE_NOT_ALLOWED"

# ------------------------------------------------------------ 二、合法依据 / 2. lawful basis

# METADATA
# title: 该依据的效力 / What this basis suffices for, for this agency and purpose
sufficiency := object.get(cfg.basis, [kind, purpose, basis], {})

# METADATA
# title: 合法依据允许的层级 / The tier that the lawful basis carries
# description: Public data needs no basis.
tier_by_basis(level) := "full" if {
	level == 1
} else := "full" if {
	level <= sufficiency.records
} else := "attest" if {
	level <= sufficiency.attest
} else := "exists" if {
	level <= sufficiency.exists
} else := "none"

# ------------------------------------------------------------ 三、本人意愿 / 3. the person's will

# METADATA
# title: 本人拒绝 / The person has refused this type
# description: >
#   Whatever the basis, and whatever else is permitted. A refusal has no ceiling; one that names
#   no types, or whose types cannot be read, covers every type. What is not a permit is a refusal.
refused(code) if {
	count([1 |
		some p in input.consents
		object.get(p, "effect", "refuse") != "permit"
		listed(object.get(p, "types", []), code)
	]) > 0
} else := false

# METADATA
# title: 所依据的授权 / The permits that cover this type at this level
permits(code, level) := sort([p.id |
	some p in input.consents
	p.effect == "permit"
	p.until > now
	level <= p.level_ceiling
	listed(p.types, code)
])

# METADATA
# title: 授权允许的层级 / The tier that the person's will allows
tier_by_will(code, level) := "none" if {
	refused(code)
} else := "full" if {
	level == 1
} else := "full" if {
	basis != "consent"
} else := "full" if {
	count(permits(code, level)) > 0
} else := "none"

# METADATA
# title: 依据授权时记下其编号 / The permits a grant rests on, when consent is the basis
rests_on(code, level, tier) := permits(code, level) if {
	tier != "none"
	level != 1
	basis == "consent"
} else := []

# ------------------------------------------------------------ 结论 / the decision

# METADATA
# title: 层级由低到高 / The tiers from lowest to highest
rank := {"none": 0, "exists": 1, "attest": 2, "count": 3, "masked": 4, "full": 5}

# METADATA
# title: 三者取最低 / The lowest of three tiers
lowest(a, b, c) := tier if {
	bottom := min([rank[a], rank[b], rank[c]])
	some tier, place in rank
	place == bottom
} else := "none"

# METADATA
# title: 查找只告知数量或有无 / Locating tells numbers or existence, never content
shown := {
	"fetch": {},
	"locate": {"full": "count", "masked": "count", "attest": "exists"},
}

# METADATA
# title: 逐类型的结论 / One grant for each type asked for
grants := {code: grant(code, level) | some code, level in asked}

# METADATA
# title: 一个类型的结论 / The grant for one type
# description: What role, basis and the person's will each allow; the lowest of the three counts.
grant(code, level) := granted(
	code,
	level,
	tier_by_role(code, level),
	tier_by_basis(level),
	tier_by_will(code, level),
)

# METADATA
# title: 写出结论 / The grant written out
granted(code, level, by_role, by_basis, by_will) := {
	"tier": tier,
	"mask": mask(tier),
	"reasons": reasons(code, level, by_role, by_basis, by_will),
	"consents": rests_on(code, level, tier),
} if {
	most := lowest(by_role, by_basis, by_will)
	tier := object.get(shown, [verb, most], most)
} else := {
	"tier": "none",
	"mask": [],
	"reasons": ["POLICY_FAILED"],
	"consents": [],
}

# METADATA
# title: 脱敏字段组 / The field groups to mask
mask(tier) := sort(row.mask) if {
	tier == "masked"
} else := []

# METADATA
# title: 为何不更多 / Why it is not more
# description: >
#   Only the first obstacle is named, and the person's will comes last: who could not have had the
#   records anyway must not learn from a reason that the person is known here.
reasons(code, level, by_role, by_basis, by_will) := [role_reason(level)] if {
	by_role == "none"
} else := ["BASIS_INSUFFICIENT"] if {
	by_basis == "none"
} else := ["CONSENT_REFUSED"] if {
	refused(code)
} else := ["CONSENT_MISSING"] if {
	by_will == "none"
} else := ["BASIS_INSUFFICIENT"] if {
	by_basis != "full"
} else := ["LEVEL_TOO_HIGH"] if {
	by_role == "masked"
	verb == "fetch"
} else := []

# METADATA
# title: 对整个请求的理由 / Reasons that hold for the whole request
request_reasons contains "REQUEST_MALFORMED" if not understood

request_reasons contains "ROLE_NOT_ALLOWED" if not asking_role

# METADATA
# title: 可提出请求的角色 / A role that may ask for records of people
asking_role if role in cfg.asking_roles

# ------------------------------------------------------------ 义务 / duties

# METADATA
# title: 有所给予 / Something is granted
something_granted if {
	some g in grants
	g.tier != "none"
}

# METADATA
# title: 保存期限 / How long the receiver may keep its copy
ttl_seconds := object.get(cfg.ttl_seconds, purpose, 600)

# METADATA
# title: 不得转交 / Who may hand nothing on to a third agency
bound_to_keep if kind in cfg.no_onward_transfer

# METADATA
# title: 义务：保存期限 / The duty to delete in time
ttl_duty := [{"type": "ttl", "seconds": ttl_seconds} | something_granted]

# METADATA
# title: 义务：不得转交 / The duty to hand nothing on
keep_duty := [{"type": "no-onward-transfer"} |
	something_granted
	bound_to_keep
]

# METADATA
# title: 随附义务 / The duties that come with an access
obligations := array.concat(keep_duty, ttl_duty)
