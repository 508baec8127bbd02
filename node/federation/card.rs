//! The card a new member hands to the authority: its description, signed by the keys it claims.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::certificate::MemberCa;
use crate::member::{InvalidMember, MAX_MEMBER_BYTES, Member, told};
use crate::name::FederationName;

/// Name of the format, and the label under which both keys sign.
pub const FORMAT: &str = "songhe-member-card/v1";

/// Largest card in bytes: a member, two signatures, and room for a readable layout.
pub const MAX_CARD_BYTES: usize = MAX_MEMBER_BYTES + 4096;

/// Longest signature in base64: 72 bytes of ASN.1.
const MAX_SIGNATURE_CHARS: usize = 96;

/// Why a card was refused or could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CardError {
    /// Longer than [`MAX_CARD_BYTES`].
    #[error(
        "the member card is larger than 16 kib; ask the member for the file that `songhe init` wrote"
    )]
    TooLarge,
    /// Not the JSON of a card.
    #[error("the member card cannot be read: {0}")]
    Json(String),
    /// Another format or version.
    #[error(
        "the member card has another format than songhe-member-card/v1; use the same release on both sides"
    )]
    Format,
    /// Made for another federation.
    #[error(
        "the member card was made for another federation; ask the member for one made for this one"
    )]
    OtherFederation,
    /// The description of the member is refused.
    #[error("the member card is refused: {0}")]
    Member(#[from] InvalidMember),
    /// Not signed by the receipt key it names: somebody registers a key that is not theirs.
    #[error(
        "the member card is not signed by the receipt key it names; ask the member for a new card"
    )]
    ReceiptProof,
    /// Not signed by the certificate authority it names.
    #[error(
        "the member card is not signed by the certificate authority it names; ask the member for a new card"
    )]
    CaProof,
    /// The certificate authority's key could not sign.
    #[error(
        "the member's certificate authority could not sign; check the operating system's generator"
    )]
    Signing,
}

/// A member's description with proof that the one who wrote it holds its receipt key and its certificate authority.
///
/// Both sign `songhe-member-card/v1 ‖ 0x00 ‖ <federation> ‖ 0x0A ‖ <canonical JSON of the member>`, so a card made
/// for one federation says nothing in another, and no other signature of these keys is a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberCard {
    federation: FederationName,
    member: Member,
    receipt_proof: Vec<u8>,
    ca_proof: Vec<u8>,
}

impl MemberCard {
    /// Makes a card. `sign_receipt(label, message)` returns the receipt key's Ed25519 signature over
    /// `label ‖ 0x00 ‖ message`; the key itself stays where it is kept.
    ///
    /// # Errors
    /// [`CardError::Member`] for a description that would be refused, `ReceiptProof` or `CaProof` when a key is
    /// not the one the description names, `Signing` without randomness.
    pub fn create(
        federation: FederationName,
        member: Member,
        sign_receipt: impl FnOnce(&str, &[u8]) -> [u8; 64],
        ca: &MemberCa,
        rng: &dyn SecureRandom,
    ) -> Result<Self, CardError> {
        let message = message(&federation, &member)?;
        let receipt_proof = sign_receipt(FORMAT, &message).to_vec();
        let ca_proof = ca
            .sign(FORMAT, &message, rng)
            .map_err(|_unspecified| CardError::Signing)?;
        let card = Self {
            federation,
            member,
            receipt_proof,
            ca_proof,
        };
        card.check()?;
        Ok(card)
    }

    /// Reads a card and verifies both proofs.
    ///
    /// # Errors
    /// [`CardError`] names the first fault.
    pub fn parse(text: &str) -> Result<Self, CardError> {
        if text.len() > MAX_CARD_BYTES {
            return Err(CardError::TooLarge);
        }
        let parsed: CardText = serde_json::from_str(text).map_err(|e| CardError::Json(told(&e)))?;
        if parsed.format != FORMAT {
            return Err(CardError::Format);
        }
        let card = Self {
            federation: parsed.federation,
            member: parsed.member,
            receipt_proof: signature_bytes(&parsed.receipt_proof).ok_or(CardError::ReceiptProof)?,
            ca_proof: signature_bytes(&parsed.ca_proof).ok_or(CardError::CaProof)?,
        };
        card.check()?;
        Ok(card)
    }

    /// The card as JSON for people to look at and send on. It holds no secret.
    ///
    /// # Errors
    /// [`CardError::Json`], which the fields' types do not give.
    pub fn to_json(&self) -> Result<String, CardError> {
        let text = CardText {
            format: FORMAT.to_owned(),
            federation: self.federation.clone(),
            member: self.member.clone(),
            receipt_proof: STANDARD.encode(&self.receipt_proof),
            ca_proof: STANDARD.encode(&self.ca_proof),
        };
        let mut json =
            serde_json::to_string_pretty(&text).map_err(|e| CardError::Json(told(&e)))?;
        json.push('\n');
        Ok(json)
    }

    /// The federation it was made for.
    #[must_use]
    pub const fn federation(&self) -> &FederationName {
        &self.federation
    }

    /// The member it describes; the proofs hold.
    #[must_use]
    pub const fn member(&self) -> &Member {
        &self.member
    }

    fn check(&self) -> Result<(), CardError> {
        self.member.check()?;
        let message = message(&self.federation, &self.member)?;
        if !self
            .member
            .receipt_key
            .verify(FORMAT, &message, &self.receipt_proof)
        {
            return Err(CardError::ReceiptProof);
        }
        if !self.member.ca.verify(FORMAT, &message, &self.ca_proof) {
            return Err(CardError::CaProof);
        }
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CardText {
    format: String,
    federation: FederationName,
    member: Member,
    receipt_proof: String,
    ca_proof: String,
}

fn message(federation: &FederationName, member: &Member) -> Result<Vec<u8>, CardError> {
    Ok(format!("{federation}\n{}", member.to_json()?).into_bytes())
}

fn signature_bytes(text: &str) -> Option<Vec<u8>> {
    (text.len() <= MAX_SIGNATURE_CHARS)
        .then(|| STANDARD.decode(text).ok())
        .flatten()
}
