//! The federation: signed directory of members, their keys and certificates.
