//! What can go wrong while a pseudonym is made, and whose fault it is.

use thiserror::Error;

/// Why no pseudonym was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SubjectError {
    /// The identifier or its system is empty, too long, or holds a zero byte. The caller's fault.
    #[error(
        "identifier or its system is empty, too long, or holds a zero byte: check the field it came from"
    )]
    Input,
    /// No element at all, more than [`crate::MAX_BATCH`], or counts that do not match. The other
    /// side's fault.
    #[error(
        "a call must carry between 1 and {} elements, and the answer as many: split the request",
        crate::MAX_BATCH
    )]
    Batch,
    /// Bytes that are not an element of the group, or its identity, which no honest side sends.
    #[error(
        "element is not a valid group element: the sender's message is damaged or forged, ask again"
    )]
    Element,
    /// Bytes that are not a proof.
    #[error("proof is malformed: the answer is damaged or forged, ask again")]
    ProofFormat,
    /// The provider used another key than the one it published, or the answer was changed on the
    /// way.
    #[error(
        "proof does not match the provider's published key: do not use the answer, refresh the member directory"
    )]
    WrongProof,
    /// Bytes or text that are not a public key.
    #[error("public key of the pseudonym function is malformed: refresh the member directory")]
    PublicKey,
    /// A seed from which no key can be derived; practically impossible for a random one.
    #[error("no key can be derived from this seed: make a new one")]
    Seed,
    /// The source of randomness failed or repeats itself.
    #[error("random numbers are not available: check the operating system's generator")]
    Randomness,
}
