//! FHIR R4 in: splitting, validating, naming what is wrong; FHIR out: field groups masked.
