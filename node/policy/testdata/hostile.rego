# METADATA
# title: 行为不端的策略 / A policy that misbehaves, one way for each purpose and role
# description: >
#   For the tests of the sandbox alone. Under TREAT a physician gets a good answer. The module beside
#   it is OPA 1.20.2: opa build -t wasm -e songhe/access/decision -o hostile.tar.gz hostile.rego
package songhe.access

good := {
	"v": 1,
	"types": {t.code: {"tier": "none", "mask": [], "reasons": ["PURPOSE_NOT_ALLOWED"], "consents": []} | some t in input.types},
	"obligations": [],
	"reasons": [],
	"policy_version": data.tables.version,
}

treat if input.purpose == "TREAT"

decision := good if {
	treat
	input.role == "physician"
}

# A loop that would take longer than anybody waits: 200 to the power of 6 rounds, without much memory.
decision := count(endless) if input.purpose == "ETREAT"

some_numbers := {n | some n in numbers.range(1, 200)}

endless := {1 |
	some a in some_numbers
	some b in some_numbers
	some c in some_numbers
	some d in some_numbers
	some e in some_numbers
	some f in some_numbers
	f == 0
	a == b
	c == d
	e == f
}

# More memory than there is for it.
decision := count(numbers.range(1, 100000000)) if input.purpose == "CAREMGT"

decision := "yes" if input.purpose == "ELIGDTRM"

decision := object.union(good, {"obligations": [{"type": "notify", "whom": "subject"}]}) if input.purpose == "HPAYMT"

# HOPERAT: undefined.

decision := object.union(good, {"effect": "permit"}) if input.purpose == "PUBHLTH"

decision := object.union(good, {"types": {"not-asked": {"tier": "none", "mask": [], "reasons": ["LEVEL_TOO_HIGH"], "consents": []}}}) if input.purpose == "HRESCH"

decision := object.union(good, {"reasons": ["BECAUSE_I_SAY_SO"]}) if input.purpose == "PATRQT"

# Two answers at once: OPA stops the evaluation.
decision := good if input.purpose == "FAMRQT"

decision := object.union(good, {"reasons": ["CONSENT_MISSING"]}) if input.purpose == "FAMRQT"

grant_all(grant) := object.union(good, {"types": {t.code: grant | some t in input.types}})

decision := grant_all({"tier": "open", "mask": [], "reasons": [], "consents": []}) if {
	treat
	input.role == "nurse"
}

decision := grant_all({"tier": "masked", "mask": [], "reasons": [], "consents": []}) if {
	treat
	input.role == "registrar"
}

decision := object.union(good, {"v": 2}) if {
	treat
	input.role == "care-worker"
}

decision := grant_all({"tier": "full", "mask": [], "reasons": [], "consents": ["00000000000000000000000000000bad"]}) if {
	treat
	input.role == "benefit-officer"
}

decision := object.union(good, {"obligations": [{"type": "no-onward-transfer", "except": "insurer"}]}) if {
	treat
	input.role == "family-doctor"
}

decision := grant_all({"tier": "none", "mask": [], "reasons": [], "consents": []}) if {
	treat
	input.role == "auditor"
}

# An answer far longer than a verdict may be: 40,000 times 36 characters.
decision := object.union(good, {"policy_version": concat("", [text |
	some _ in some_numbers
	some _ in some_numbers
	text := "an answer that is so very, very long"
])}) if {
	treat
	input.role == "operator"
}

# A builtin that the host has by name only.
decision := uuid.rfc4122("x") if {
	treat
	input.role == "source-system"
}
