//! How large, deep and wide a record may be, and why.

/// Limits on what a source may send; the defaults fit what hospitals really send, with room to spare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one resource. 4 MiB: the largest report of a district's archive is below 1 MiB without images.
    pub resource_bytes: usize,
    /// Bytes of one Bundle; larger transfers are sent as NDJSON, which is never held whole.
    pub bundle_bytes: usize,
    /// Arrays and objects inside one another, in one resource. FHIR's own types stay below 20.
    pub depth: usize,
    /// Entries of one Bundle.
    pub entries: usize,
    /// Members of one JSON object. The widest FHIR type has about 60; more members cost quadratic time to check.
    pub members: usize,
    /// JSON values in one resource; bounds the memory a resource of many tiny values takes.
    pub values: usize,
}

impl Limits {
    /// The default limits.
    pub const DEFAULT: Self = Self {
        resource_bytes: 4 * 1024 * 1024,
        bundle_bytes: 256 * 1024 * 1024,
        depth: 64,
        entries: 100_000,
        members: 256,
        values: 200_000,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
