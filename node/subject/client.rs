//! The asking side: blind an identifier, turn the answer into the provider's pseudonym.

use std::fmt;

use rand_core::{TryCryptoRng, TryRngCore};
use voprf::{EvaluationElement, Ristretto255, VoprfClient};

use crate::server::{array, refuse};
use crate::{
    ELEMENT_BYTES, MAX_BATCH, OprfPublicKey, Proof, PseudonymBytes, SubjectError, SubjectInput,
};

/// What the requester sends: a group element that says nothing about the identifier to anyone,
/// ever.
pub type BlindedElement = [u8; ELEMENT_BYTES];

/// How many draws one operation may take from the source of randomness. A draw is used when it is
/// below the group order (1 in 16), so 4,096 fail together with a chance below 2⁻³⁸⁰: then the
/// source is broken.
const MAX_DRAWS: u32 = 4_096;

/// What the requester keeps between asking and answer: the blinding factor and the identifier.
/// Secret, wiped on drop, neither `Clone` nor printable; using it up in [`finalize`] keeps a blind
/// from serving twice.
pub struct BlindState {
    client: VoprfClient<Ristretto255>,
    input: SubjectInput,
}

impl fmt::Debug for BlindState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlindState(..)")
    }
}

/// Blinds one identifier (RFC 9497 §3.3.2 `Blind`). `fill` fills a buffer with cryptographic
/// randomness.
///
/// # Errors
/// [`SubjectError::Randomness`] when `fill` fails, [`SubjectError::Input`] for an input the group
/// cannot take.
pub fn blind<E>(
    input: SubjectInput,
    fill: impl FnMut(&mut [u8]) -> Result<(), E>,
) -> Result<(BlindState, BlindedElement), SubjectError> {
    let blinded = VoprfClient::<Ristretto255>::blind(input.as_bytes(), &mut Draws::new(fill))
        .map_err(refuse)?;
    let element: BlindedElement = array(&blinded.message.serialize())?;
    // The library leaves out one check of the standard: an input that maps to the identity must be
    // refused (§3.3.1 InvalidInputError). The identity is the only element written as zeroes.
    if element == [0; ELEMENT_BYTES] {
        return Err(SubjectError::Input);
    }
    Ok((
        BlindState {
            client: blinded.state,
            input,
        },
        element,
    ))
}

/// Checks the proof over the whole batch and unblinds every answer (RFC 9497 §3.3.2 `Finalize`).
///
/// `states` and `evaluated` in the same order, as one [`crate::evaluate`] call answered them. The
/// 64 bytes of the standard are cut to their first 32. All or nothing: with a wrong proof no
/// pseudonym is given out.
///
/// # Errors
/// `Batch` for no element, too many or unequal counts; `Element`, `ProofFormat`, `WrongProof` as
/// named.
pub fn finalize(
    states: Vec<BlindState>,
    evaluated: &[[u8; ELEMENT_BYTES]],
    proof: &Proof,
    key: &OprfPublicKey,
) -> Result<Vec<PseudonymBytes>, SubjectError> {
    if states.is_empty() || states.len() > MAX_BATCH || states.len() != evaluated.len() {
        return Err(SubjectError::Batch);
    }
    let evaluated = evaluated
        .iter()
        .map(|bytes| {
            EvaluationElement::<Ristretto255>::deserialize(bytes)
                .map_err(|_bad| SubjectError::Element)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let proof = voprf::Proof::<Ristretto255>::deserialize(proof)
        .map_err(|_bad| SubjectError::ProofFormat)?;
    let (clients, inputs): (Vec<_>, Vec<_>) =
        states.into_iter().map(|s| (s.client, s.input)).unzip();
    let inputs: Vec<&[u8]> = inputs.iter().map(SubjectInput::as_bytes).collect();
    VoprfClient::batch_finalize(&inputs, &clients, &evaluated, &proof, key.point())
        .map_err(refuse)?
        .map(|output| array(&output.map_err(refuse)?))
        .collect()
}

/// Lends a filling function to the library, and gives up instead of drawing for ever.
pub(crate) struct Draws<F> {
    fill: F,
    left: u32,
}

impl<F> Draws<F> {
    pub(crate) fn new(fill: F) -> Self {
        Self {
            fill,
            left: MAX_DRAWS,
        }
    }
}

impl<E, F: FnMut(&mut [u8]) -> Result<(), E>> TryRngCore for Draws<F> {
    type Error = SubjectError;

    fn try_next_u32(&mut self) -> Result<u32, SubjectError> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, SubjectError> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), SubjectError> {
        self.left = self.left.checked_sub(1).ok_or(SubjectError::Randomness)?;
        (self.fill)(out).map_err(|_source| SubjectError::Randomness)
    }
}

impl<E, F: FnMut(&mut [u8]) -> Result<(), E>> TryCryptoRng for Draws<F> {}
