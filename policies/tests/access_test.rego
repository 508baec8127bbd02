# METADATA
# title: 默认策略的例子 / The default policy by examples
# description: >
#   One person, asked about by different people. Run: opa test --timeout 60s songhe tests tables:tables/data.json
package songhe.access_test

import data.songhe.access
import data.tables

# ------------------------------------------------------------ fixtures

now := 1795313730

permit_all := {"id": "0000000000000000000000000000000a", "effect": "permit", "types": [], "level_ceiling": 4, "until": 1900000000}

refuse_all := {"id": "0000000000000000000000000000000f", "effect": "refuse", "types": [], "level_ceiling": 5, "until": 1900000000}

question(kind, role, purpose, basis, types, consents) := {
	"v": 1,
	"verb": "fetch",
	"purpose": purpose,
	"basis": basis,
	"requester": {"member": "asker", "kind": kind, "district": "530111"},
	"role": role,
	"holder": {"member": "holder", "kind": "hospital", "district": "530111"},
	"types": types,
	"consents": consents,
	"env": {"now": now},
}

exam := {"code": "exam-report", "level": 3}

vitals := {"code": "vitals", "level": 3}

condition := {"code": "condition", "level": 3}

profile := {"code": "profile", "level": 4}

assessment := {"code": "care-assessment", "level": 3}

service_record := {"code": "service-record", "level": 2}

appointment := {"code": "appointment", "level": 2}

facility := {"code": "facility", "level": 1}

doctor(types, consents) := question("hospital", "physician", "TREAT", "consent", types, consents)

officer(basis, types, consents) := question("civil-affairs", "benefit-officer", "ELIGDTRM", basis, types, consents)

care_worker(basis, types, consents) := question("community", "care-worker", "CAREMGT", basis, types, consents)

located(q) := object.union(q, {"verb": "locate"})

# ------------------------------------------------------------ hospital

test_physician_reads_whole_to_level_4_by_consent if {
	d := access.decision with input as doctor([exam, profile], [permit_all])
	d.types["exam-report"] == {"tier": "full", "mask": [], "reasons": [], "consents": [permit_all.id]}
	d.types.profile.tier == "full"
	d.obligations == [{"type": "ttl", "seconds": 86400}]
	d.reasons == []
	d.policy_version == tables.version
	d.v == 1
}

test_level_5_stays_shut if {
	d := access.decision with input as doctor([{"code": "exam-report", "level": 5}], [permit_all])
	d.types["exam-report"].tier == "none"
	d.types["exam-report"].reasons == ["LEVEL_TOO_HIGH"]
	d.obligations == []
}

test_no_consent_no_record if {
	d := access.decision with input as doctor([exam], [])
	d.types["exam-report"] == {"tier": "none", "mask": [], "reasons": ["CONSENT_MISSING"], "consents": []}
}

test_nurse_reads_masked_to_level_3 if {
	d := access.decision with input as question("hospital", "nurse", "TREAT", "consent", [vitals, profile], [permit_all])
	d.types.vitals.tier == "masked"
	d.types.vitals.mask == ["contact", "identifiers"]
	d.types.vitals.reasons == ["LEVEL_TOO_HIGH"]
	d.types.profile.tier == "none"
	d.types.profile.reasons == ["LEVEL_TOO_HIGH"]
}

test_family_doctor_reads_whole_to_level_3 if {
	tiers := {[kind, purpose, code, g.tier] |
		some kind in ["hospital", "community"]
		some purpose in ["TREAT", "CAREMGT"]
		d := access.decision with input as question(kind, "family-doctor", purpose, "consent", [vitals, profile], [permit_all])
		some code, g in d.types
	}
	tiers == {[kind, purpose, code, tier] |
		some kind in ["hospital", "community"]
		some purpose in ["TREAT", "CAREMGT"]
		some code, tier in {"vitals": "full", "profile": "none"}
	}
}

test_before_an_order_the_doctor_learns_that_a_result_exists if {
	d := access.decision with input as located(question("hospital", "physician", "TREAT", "contract", [exam], []))
	d.types["exam-report"].tier == "exists"
	d.types["exam-report"].reasons == ["BASIS_INSUFFICIENT"]
}

test_emergency_alone_opens_nothing_yet if {
	d := access.decision with input as question("hospital", "physician", "ETREAT", "vital-interest", [exam], [permit_all])
	d.types["exam-report"].tier == "none"
	d.types["exam-report"].reasons == ["BASIS_INSUFFICIENT"]
}

# ------------------------------------------------------------ consent

test_refusal_beats_permit_whatever_the_basis if {
	reasons := {r |
		some q in [
			doctor([exam], [permit_all, refuse_all]),
			officer("statutory-duty", [appointment], [permit_all, refuse_all]),
			care_worker("contract", [service_record], [refuse_all]),
		]
		d := access.decision with input as q
		some g in d.types
		some r in g.reasons
	}
	reasons == {"CONSENT_REFUSED"}
}

test_refusal_of_one_type_leaves_the_others if {
	refuse_exam := object.union(refuse_all, {"types": ["exam-report"]})
	d := access.decision with input as doctor([exam, vitals], [permit_all, refuse_exam])
	d.types["exam-report"].reasons == ["CONSENT_REFUSED"]
	d.types.vitals.tier == "full"
}

test_refusal_that_cannot_be_read_covers_everything if {
	d := access.decision with input as doctor([exam], [permit_all, {"id": refuse_all.id, "effect": "refuse"}])
	d.types["exam-report"].reasons == ["CONSENT_REFUSED"]
}

test_refusal_is_not_told_to_who_could_not_have_had_it if {
	d := access.decision with input as officer("statutory-duty", [exam], [refuse_all])
	d.types["exam-report"].reasons == ["PURPOSE_NOT_ALLOWED"]
}

test_permit_covers_its_types_and_levels_only if {
	p := object.union(permit_all, {"types": ["exam-report", "profile"], "level_ceiling": 3})
	d := access.decision with input as doctor([exam, vitals, profile], [p])
	d.types["exam-report"].tier == "full"
	d.types.vitals.reasons == ["CONSENT_MISSING"]
	d.types.profile.reasons == ["CONSENT_MISSING"]
}

test_permit_that_has_ended_or_cannot_be_read_permits_nothing if {
	bad := [
		object.union(permit_all, {"until": now}),
		object.remove(permit_all, ["until"]),
		object.remove(permit_all, ["types"]),
		object.remove(permit_all, ["level_ceiling"]),
	]
	count([1 |
		some p in bad
		d := access.decision with input as doctor([exam], [p])
		d.types["exam-report"].reasons == ["CONSENT_MISSING"]
	]) == count(bad)
}

test_without_a_clock_every_permit_has_ended if {
	d := access.decision with input as object.remove(doctor([exam], [permit_all]), ["env"])
	d.types["exam-report"].reasons == ["CONSENT_MISSING"]
}

test_permits_it_rests_on_are_named_in_order if {
	other := object.union(permit_all, {"id": "00000000000000000000000000000001"})
	d := access.decision with input as doctor([exam], [permit_all, other])
	d.types["exam-report"].consents == [other.id, permit_all.id]
}

# ------------------------------------------------------------ civil affairs

test_assessment_is_masked_by_consent if {
	d := access.decision with input as officer("consent", [assessment], [permit_all])
	d.types["care-assessment"].tier == "masked"
	d.types["care-assessment"].mask == ["contact", "identifiers", "narrative", "sensitive-diagnoses"]
	d.obligations == [{"type": "no-onward-transfer"}, {"seconds": 2592000, "type": "ttl"}]
}

test_statutory_duty_reads_to_level_2_and_attests_at_3 if {
	d := access.decision with input as officer("statutory-duty", [service_record, assessment], [])
	d.types["service-record"] == {"tier": "full", "mask": [], "reasons": [], "consents": []}
	d.types["care-assessment"].tier == "attest"
	d.types["care-assessment"].reasons == ["BASIS_INSUFFICIENT"]
	l := access.decision with input as located(officer("statutory-duty", [service_record, assessment], []))
	l.types["service-record"].tier == "count"
	l.types["care-assessment"].tier == "exists"
}

test_benefit_officer_reads_no_medical_record if {
	d := access.decision with input as officer("consent", [exam, condition, profile], [permit_all])
	d.types["exam-report"] == {"tier": "none", "mask": [], "reasons": ["PURPOSE_NOT_ALLOWED"], "consents": []}
	d.types.condition.reasons == ["PURPOSE_NOT_ALLOWED"]
	d.types.profile.reasons == ["LEVEL_TOO_HIGH"]
	d.obligations == []
}

# ------------------------------------------------------------ community

test_care_worker_sees_services_whole_and_the_rest_masked if {
	d := access.decision with input as care_worker("consent", [service_record, appointment, vitals, profile], [permit_all])
	d.types["service-record"].tier == "full"
	d.types.appointment.tier == "masked"
	d.types.vitals.tier == "masked"
	d.types.vitals.mask == ["identifiers", "narrative", "sensitive-diagnoses"]
	d.types.profile.tier == "none"
	{"type": "no-onward-transfer"} in d.obligations
}

test_service_contract_carries_level_2_only if {
	d := access.decision with input as care_worker("contract", [service_record, vitals], [])
	d.types["service-record"].tier == "full"
	d.types.vitals.reasons == ["BASIS_INSUFFICIENT"]
}

test_registrar_sees_masked_to_level_2_at_every_kind if {
	tiers := {[kind, code, g.tier] |
		some kind in tables.kinds
		d := access.decision with input as question(kind, "registrar", "CAREMGT", "consent", [appointment, vitals], [permit_all])
		some code, g in d.types
	}
	tiers == {[kind, code, tier] |
		some kind in tables.kinds
		some code, tier in {"appointment": "masked", "vitals": "none"}
	}
}

# ------------------------------------------------------------ locate and public data

test_locate_counts_where_fetch_reads if {
	d := access.decision with input as located(doctor([exam], [permit_all]))
	d.types["exam-report"] == {"tier": "count", "mask": [], "reasons": [], "consents": [permit_all.id]}
	n := access.decision with input as located(question("hospital", "nurse", "TREAT", "consent", [vitals], [permit_all]))
	n.types.vitals == {"tier": "count", "mask": [], "reasons": [], "consents": [permit_all.id]}
}

some_purposes := ["TREAT", "ELIGDTRM", "FAMRQT"]

test_facilities_are_open_to_everyone_who_may_ask if {
	open := {[kind, role, purpose] |
		some kind in tables.kinds
		some role in tables.asking_roles
		some purpose in some_purposes
		d := access.decision with input as question(kind, role, purpose, "contract", [facility], [])
		d.types.facility == {"tier": "full", "mask": [], "reasons": [], "consents": []}
	}
	count(open) == (count(tables.kinds) * count(tables.asking_roles)) * count(some_purposes)
}

test_administrators_and_machines_get_nothing if {
	tiers := {[g.tier, g.reasons, d.reasons] |
		some role in ["source-system", "operator", "security-administrator", "auditor", "root", ""]
		some kind in tables.kinds
		some purpose in some_purposes
		d := access.decision with input as question(kind, role, purpose, "consent", [exam, facility], [permit_all])
		some g in d.types
	}
	tiers == {["none", ["PURPOSE_NOT_ALLOWED"], ["ROLE_NOT_ALLOWED"]]}
}

# ------------------------------------------------------------ what is unknown, missing or malformed

test_unknown_words_get_nothing if {
	good := doctor([exam], [permit_all])
	bad := [
		object.union(good, {"purpose": "MARKETING"}),
		object.union(good, {"basis": "legitimate-interest"}),
		object.union(good, {"requester": {"member": "asker", "kind": "insurer", "district": "530111"}}),
		object.union(good, {"role": "visitor"}),
		object.union(good, {"verb": "copy"}),
		object.union(good, {"v": 2}),
		object.union(good, {"types": [{"code": "exam-report", "level": 0}]}),
		object.union(good, {"types": [{"code": "exam-report", "level": 6}]}),
		object.union(good, {"types": [{"code": "exam-report", "level": 2.5}]}),
		object.union(good, {"types": [{"code": "exam-report", "level": "3"}]}),
		object.union(good, {"types": [{"code": "exam-report"}]}),
	]
	count([1 |
		some q in bad
		d := access.decision with input as q
		d.types["exam-report"].tier == "none"
		count(d.types["exam-report"].reasons) == 1
		d.obligations == []
	]) == count(bad)
}

test_a_field_left_out_never_gives_more if {
	good := doctor([exam], [permit_all])
	fields := ["v", "verb", "purpose", "basis", "requester", "role", "types", "consents", "env"]
	widened := [f |
		some f in fields
		d := access.decision with input as object.remove(good, [f])
		some g in d.types
		g.tier != "none"
	]
	widened == []
}

test_without_the_list_of_consents_nothing_is_given if {
	q := question("hospital", "physician", "TREAT", "contract", [appointment], [refuse_all])
	answers := {d.types.appointment.reasons |
		some broken in [object.remove(q, ["consents"]), object.union(q, {"consents": "none"})]
		d := access.decision with input as broken
	}
	answers == {["REQUEST_MALFORMED"]}
}

test_what_is_not_a_permit_is_a_refusal if {
	odd := object.union(refuse_all, {"effect": "perhaps"})
	none := object.remove(refuse_all, ["effect"])
	answers := {d.types["exam-report"].reasons |
		some p in [odd, none]
		d := access.decision with input as doctor([exam], [permit_all, p])
	}
	answers == {["CONSENT_REFUSED"]}
}

test_a_type_named_twice_counts_with_its_highest_level if {
	d := access.decision with input as doctor([exam, {"code": "exam-report", "level": 5}], [permit_all])
	d.types["exam-report"].reasons == ["LEVEL_TOO_HIGH"]
}

test_no_question_no_grant if {
	d := access.decision with input as {}
	d.types == {}
	d.reasons == ["REQUEST_MALFORMED", "ROLE_NOT_ALLOWED"]
}

# ------------------------------------------------------------ the tables themselves

test_every_masked_row_names_what_it_masks if {
	silent := [[kind, role, purpose] |
		some kind, roles in tables.access
		some role, purposes in roles
		some purpose, row in purposes
		row.masked > row.full
		count(row.mask) == 0
	]
	silent == []
}

test_tables_speak_only_of_known_words if {
	strange := [[kind, role, purpose] |
		some kind, roles in tables.access
		some role, purposes in roles
		some purpose, _ in purposes
		known := [1 |
			kind in tables.kinds
			role in tables.asking_roles
			purpose in tables.purposes
		]
		count(known) == 0
	]
	strange == []
}

test_every_row_has_a_basis_that_opens_it if {
	shut := [[kind, role, purpose] |
		some kind, roles in tables.access
		some role, purposes in roles
		some purpose, row in purposes
		bases := object.get(tables.basis, [kind, purpose], {})
		open := [b | some b, s in bases; s.records >= max([row.full, row.masked])]
		count(open) == 0
	]
	shut == []
}

test_every_granted_purpose_has_a_time_to_live if {
	missing := [purpose |
		some roles in tables.access
		some purposes in roles
		some purpose, _ in purposes
		object.get(tables.ttl_seconds, purpose, 0) == 0
	]
	missing == []
}
