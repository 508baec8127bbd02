//! The answering side: the node's key, evaluation with a proof, and pseudonyms at home.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use voprf::{BlindedElement, Group, PreparedEvaluationElement, Ristretto255, VoprfServer};

use crate::client::Draws;
use crate::{ELEMENT_BYTES, PROOF_BYTES, PseudonymBytes, SubjectError, SubjectInput};

/// Most elements in one call. Each costs the provider about two multiplications, and every call is
/// an opportunity to guess identifiers: the caller must also limit calls per member.
pub const MAX_BATCH: usize = 64;

/// The `info` under which a node's seed becomes its key; another use of the same seed takes
/// another.
pub const KEY_INFO: &[u8] = b"songhe-subject/v1/oprf-key";

/// What the provider sends back for one blinded element.
pub type EvaluatedElement = [u8; ELEMENT_BYTES];

/// One proof for the whole call that every element was evaluated with the published key.
pub type Proof = [u8; PROOF_BYTES];

/// A node's secret key for pseudonyms. Wiped on drop, not `Clone`, never printed.
///
/// Whoever has it can test guessed identifiers against stored pseudonyms; losing it orphans every
/// pseudonym. It belongs into the node's sealed secrets (as its seed) and into their backup.
pub struct OprfKey(VoprfServer<Ristretto255>);

impl OprfKey {
    /// Derives the key from a random 32-byte seed (RFC 9497 §3.2.1 `DeriveKeyPair`, mode VOPRF,
    /// ristretto255-SHA512). `info` is [`KEY_INFO`] for a node; at most 65,000 bytes.
    ///
    /// # Errors
    /// [`SubjectError::Seed`] when no key comes out.
    pub fn derive(seed: &[u8; 32], info: &[u8]) -> Result<Self, SubjectError> {
        VoprfServer::new_from_seed(seed, info)
            .map(Self)
            .map_err(|_refused| SubjectError::Seed)
    }

    /// The public key, for the member directory.
    #[must_use]
    pub fn public_key(&self) -> OprfPublicKey {
        OprfPublicKey(self.0.get_public_key())
    }
}

impl fmt::Debug for OprfKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OprfKey(.., public {})", self.public_key())
    }
}

/// A node's public key for pseudonyms: what a proof is checked against. Never the identity element.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct OprfPublicKey(<Ristretto255 as Group>::Elem);

impl OprfPublicKey {
    /// Reads 32 bytes (RFC 9496 encoding).
    ///
    /// # Errors
    /// [`SubjectError::PublicKey`] for a non-canonical encoding or the identity.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SubjectError> {
        Ristretto255::deserialize_elem(bytes)
            .map(Self)
            .map_err(|_refused| SubjectError::PublicKey)
    }

    /// Reads standard padded base64, as [`fmt::Display`] prints it.
    ///
    /// # Errors
    /// [`SubjectError::PublicKey`] for anything else.
    pub fn parse(text: &str) -> Result<Self, SubjectError> {
        Self::from_bytes(
            &STANDARD
                .decode(text)
                .map_err(|_base64| SubjectError::PublicKey)?,
        )
    }

    /// The 32 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; ELEMENT_BYTES] {
        Ristretto255::serialize_elem(self.0).into()
    }

    pub(crate) fn point(&self) -> <Ristretto255 as Group>::Elem {
        self.0
    }
}

impl fmt::Display for OprfPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.to_bytes()))
    }
}

impl fmt::Debug for OprfPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OprfPublicKey({self})")
    }
}

/// Evaluates up to [`MAX_BATCH`] blinded elements (RFC 9497 §3.3.2 `BlindEvaluate`) under one
/// proof. `fill` fills a buffer with cryptographic randomness; a repeated value would give the key
/// away.
///
/// # Errors
/// `Batch` for none or too many, `Element` for the identity or anything non-canonical,
/// `Randomness`.
pub fn evaluate<E>(
    key: &OprfKey,
    blinded: &[[u8; ELEMENT_BYTES]],
    fill: impl FnMut(&mut [u8]) -> Result<(), E>,
) -> Result<(Vec<EvaluatedElement>, Proof), SubjectError> {
    if blinded.is_empty() || blinded.len() > MAX_BATCH {
        return Err(SubjectError::Batch);
    }
    let blinded = blinded
        .iter()
        .map(|bytes| {
            BlindedElement::<Ristretto255>::deserialize(bytes).map_err(|_bad| SubjectError::Element)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let prepared: Vec<PreparedEvaluationElement<Ristretto255>> =
        key.0.batch_blind_evaluate_prepare(blinded.iter()).collect();
    let finished = key
        .0
        .batch_blind_evaluate_finish(&mut Draws::new(fill), blinded.iter(), &prepared)
        .map_err(refuse)?;
    let evaluated = finished
        .messages
        .map(|m| array(&m.serialize()))
        .collect::<Result<Vec<_>, _>>()?;
    Ok((evaluated, array(&finished.proof.serialize())?))
}

/// The pseudonym of an identifier at the node that owns `key`, without blinding (RFC 9497 §3.3.1
/// `Evaluate`): what a remote requester gets through [`crate::blind`], [`evaluate`] and
/// [`crate::finalize`].
///
/// # Errors
/// [`SubjectError::Input`] for an input the group cannot take.
pub fn pseudonym(key: &OprfKey, input: &SubjectInput) -> Result<PseudonymBytes, SubjectError> {
    array(&key.0.evaluate(input.as_bytes()).map_err(refuse)?)
}

/// The first `N` bytes. Outputs of the library are never shorter.
pub(crate) fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], SubjectError> {
    bytes.first_chunk().copied().ok_or(SubjectError::Element)
}

/// The library's errors in our words.
pub(crate) fn refuse(error: voprf::Error) -> SubjectError {
    match error {
        voprf::Error::Info | voprf::Error::Input => SubjectError::Input,
        voprf::Error::DeriveKeyPair => SubjectError::Seed,
        voprf::Error::Deserialization => SubjectError::Element,
        voprf::Error::Batch => SubjectError::Batch,
        voprf::Error::ProofVerification => SubjectError::WrongProof,
        voprf::Error::Protocol | voprf::Error::Rng => SubjectError::Randomness,
    }
}
