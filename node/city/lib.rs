//! A believable synthetic city from a seed: agencies, elders, FHIR records.
