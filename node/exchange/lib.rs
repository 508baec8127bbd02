//! The pipeline: identity, subject, consent, policy, release, journal, reply, as a chain of types.
