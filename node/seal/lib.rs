//! Keys and what they seal: key-encryption key, subject keys, sealed bodies, signatures.
