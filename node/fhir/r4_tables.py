#!/usr/bin/env python3
"""Builds r4.tables from the HL7 package hl7.fhir.r4.core 4.0.1: required codes, reference targets, element types.

Usage: r4_tables.py <hl7.fhir.r4.core-4.0.1.tar.xz | .tgz> > r4.tables
Covers every datatype and the resources of HL7's groups foundation (clinical documents only), base and clinical
that a catalogue of records about people and facilities can name or that such records contain.
"""
import json
import sys
import tarfile

RESOURCES = """AllergyIntolerance Appointment AppointmentResponse Basic CarePlan CareTeam ClinicalImpression Communication
CommunicationRequest Composition Condition Consent DetectedIssue Device DeviceMetric DeviceRequest DeviceUseStatement DiagnosticReport
DocumentReference Encounter Endpoint EpisodeOfCare FamilyMemberHistory Flag Goal Group HealthcareService ImagingStudy
Immunization List Location Media Medication MedicationAdministration MedicationDispense MedicationRequest MedicationStatement
NutritionOrder Observation Organization Patient Person Practitioner PractitionerRole Procedure Provenance QuestionnaireResponse
RelatedPerson RiskAssessment Schedule ServiceRequest Slot Specimen Substance SupplyDelivery SupplyRequest Task
AdverseEvent BodyStructure VisionPrescription""".split()
# Datatypes that only conformance resources use.
SKIP_TYPES = {"ElementDefinition", "ParameterDefinition", "DataRequirement", "TriggerDefinition", "Expression",
              "ProdCharacteristic", "MarketingStatus", "SubstanceAmount", "ProductShelfLife", "Population",
              "RelatedArtifact", "UsageContext", "Contributor"}
# Present in every resource or every element; written once under DomainResource and BackboneElement.
COMMON = {"id", "meta", "implicitRules", "language", "text", "contained", "extension", "modifierExtension"}
SD = "http://hl7.org/fhir/StructureDefinition/"


def load(path):
    systems, sets, types = {}, {}, {}
    with tarfile.open(path) as tar:
        for member in tar:
            name = member.name.rsplit("/", 1)[-1]
            if not name.startswith(("CodeSystem-", "ValueSet-", "StructureDefinition-")):
                continue
            resource = json.load(tar.extractfile(member))
            kind = resource["resourceType"]
            if kind == "CodeSystem":
                systems[resource["url"]] = resource
            elif kind == "ValueSet":
                sets[resource["url"]] = resource
            elif resource.get("derivation") == "specialization" and "snapshot" in resource:
                types[resource["type"]] = resource
    return systems, sets, types


def walk(concepts, parents=()):
    for c in concepts:
        above = set(parents)
        above |= {p["valueCode"] for p in c.get("property", []) if p["code"] == "subsumedBy" and "valueCode" in p}
        yield c["code"], above
        yield from walk(c.get("concept", []), above | {c["code"]})


def expand(url, systems, sets, seen=()):
    """{system: {codes}}, or None when the set cannot be listed."""
    url = url.split("|")[0]
    if url in seen or url not in sets:
        return None
    out = {}
    compose = sets[url].get("compose", {})

    def part(include):
        got = {}
        for nested in include.get("valueSet", []):
            inner = expand(nested, systems, sets, (*seen, url))
            if inner is None:
                return None
            for s, codes in inner.items():
                got.setdefault(s, set()).update(codes)
        system = include.get("system")
        if system is None:
            return got
        if "concept" in include:
            got.setdefault(system, set()).update(c["code"] for c in include["concept"])
            return got
        cs = systems.get(system)
        if cs is None or cs.get("content") != "complete":
            return None
        rows = dict(walk(cs["concept"]))
        if not include.get("filter"):
            got.setdefault(system, set()).update(rows)
            return got
        chosen = set(rows)
        for f in include["filter"]:
            if f["op"] not in ("is-a", "descendent-of"):
                return None
            def under(code, root):
                return any(p == root or under(p, root) for p in rows.get(code, ()))
            keep = {c for c in rows if under(c, f["value"])}
            if f["op"] == "is-a":
                keep.add(f["value"])
            chosen &= keep
        got.setdefault(system, set()).update(chosen)
        return got

    for include in compose.get("include", []):
        got = part(include)
        if got is None:
            return None
        for s, codes in got.items():
            out.setdefault(s, set()).update(codes)
    for exclude in compose.get("exclude", []):
        got = part(exclude)
        if got is None:
            return None
        for s, codes in got.items():
            out.get(s, set()).difference_update(codes)
    return out


def main(path):
    systems, sets, types = load(path)
    datatypes = sorted(t for t, d in types.items()
                       if d["kind"] == "complex-type" and not d.get("abstract") and t not in SKIP_TYPES)
    bindings, targets, lines, skipped = {}, {}, [], set()

    def binding(element):
        b = element.get("binding")
        if not b or b.get("strength") != "required" or "valueSet" not in b:
            return ""
        name = b["valueSet"].split("|")[0].rsplit("/", 1)[-1]
        if name not in bindings:
            got = expand(b["valueSet"], systems, sets)
            if got is None or sum(map(len, got.values())) > 250:
                skipped.add(name)
                return ""
            bindings[name] = got
        return f" b:{name}"

    def write(name, elements):
        own = {}
        for e in elements:
            parts = e["path"].split(".")
            if len(parts) == 1:
                continue
            parent, leaf = ".".join(parts[:-1]), parts[-1]
            own.setdefault(parent, [])
            base = name in ("DomainResource", "BackboneElement")
            inherited = COMMON if parent in RESOURCES else {"id", "extension", "modifierExtension"}
            if leaf in inherited and not base:
                continue
            card = ("+" if e["min"] else "*") if e["max"] == "*" or e["max"].isdigit() and int(e["max"]) > 1 else (
                "1" if e["min"] else "0")
            if "contentReference" in e:
                own[parent].append(f"{leaf} {card} {e['contentReference'].lstrip('#')}")
                continue
            for t in e.get("type", []):
                code = t["code"].rsplit(".", 1)[-1] if t["code"].startswith("http") else t["code"]
                if t["code"].startswith("http"):
                    code = "id" if leaf == "id" else "string"
                key = leaf
                if leaf.endswith("[x]"):
                    key = leaf[:-3] + code[0].upper() + code[1:]
                    card = "?" if card == "1" else card
                if code in ("BackboneElement", "Element") and name != "BackboneElement":
                    code = e["path"]
                extra = binding(e) if code in ("code", "Coding", "CodeableConcept") else ""
                if code == "Reference":
                    allowed = [p.removeprefix(SD) for p in t.get("targetProfile", [])]
                    if allowed and "Resource" not in allowed:
                        extra += " r:%d" % targets.setdefault(" ".join(allowed), len(targets))
                own[parent].append(f"{key} {card} {code}{extra}")
        for parent, rows in own.items():
            lines.append(f"{'@resource' if parent in RESOURCES else '@type'} {parent}")
            lines.extend(rows)

    write("DomainResource", types["DomainResource"]["snapshot"]["element"])
    write("BackboneElement", types["BackboneElement"]["snapshot"]["element"])
    for t in datatypes + RESOURCES:
        write(t, types[t]["snapshot"]["element"])
    print("# Generated by r4_tables.py from hl7.fhir.r4.core 4.0.1 (CC0-1.0). Do not edit.")
    print("# @binding <name> <system> <codes>; @targets <number> <resources>; @type or @resource <path>, then one element a line:")
    print("# <json key> <0|1|? (one of a required choice)|*|+ (required list)> <type> [b:<required binding>] [r:<reference targets>]")
    for name in sorted(bindings):
        for system in sorted(bindings[name]):
            codes = sorted(bindings[name][system])
            assert all(not any(ch.isspace() for ch in c) for c in codes), name
            print("@binding", name, system, *codes)
    for names, number in targets.items():
        print("@targets", number, names)
    print("\n".join(lines))
    print("bindings that cannot be listed, not checked:", ", ".join(sorted(skipped)), file=sys.stderr)


main(sys.argv[1])
