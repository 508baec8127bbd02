//! Step 3, consent: which of the person's consents and refusals speak of this recipient, purpose and moment.

use ledger::{ConsentState, ConsentView};
use record::consent::Effect;
use record::decision::Provision;
use record::{Level, RecordTypeCode, Refusal, Timestamp};

use crate::holder::Holder;
use crate::subject::About;

/// A request with the consents that speak of it. Made by [`Holder::look_up_consent`] alone.
#[derive(Clone, Debug)]
pub struct Standing {
    about: About,
    view: ConsentView,
    provisions: Vec<Provision>,
    at: Timestamp,
}

impl Standing {
    /// The request.
    #[must_use]
    pub const fn about(&self) -> &About {
        &self.about
    }

    /// The provisions, for the policy's question.
    #[must_use]
    pub fn provisions(&self) -> &[Provision] {
        &self.provisions
    }

    /// The moment they were looked up for.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    pub(crate) const fn view(&self) -> &ConsentView {
        &self.view
    }

    /// Whether a refusal covers this type and level: it beats whatever a policy says.
    pub(crate) fn is_refused(&self, code: &RecordTypeCode) -> bool {
        self.provisions
            .iter()
            .any(|p| p.effect == Effect::Refuse && of_type(p, code))
    }

    /// Whether a permit covers this type and level.
    pub(crate) fn is_permitted(&self, code: &RecordTypeCode, level: Level) -> bool {
        self.provisions
            .iter()
            .any(|p| p.effect == Effect::Permit && of_type(p, code) && level <= p.level_ceiling)
    }
}

fn of_type(provision: &Provision, code: &RecordTypeCode) -> bool {
    provision.types.is_empty() || provision.types.contains(code)
}

impl Holder {
    /// Looks the person's consents up as they stand in the journal now.
    ///
    /// # Errors
    /// `INDEX_UNAVAILABLE`, `DATA_DAMAGED`: a consent that cannot be read is not "no refusal".
    pub async fn look_up_consent(&self, about: About) -> Result<Standing, Refusal> {
        let view = self.ledger().consents(*about.pseudonym()).await?;
        let at = self.now();
        let caller = about.caller();
        let (agency, purpose) = (caller.agency(), caller.statement().purpose);
        let provisions = view
            .entries
            .iter()
            .filter(|e| e.state == ConsentState::Given)
            .map(|e| &e.consent)
            .filter(|c| c.speaks_of(&agency.member, agency.kind, purpose, at))
            .map(|c| Provision {
                id: c.id,
                effect: c.effect,
                types: c.types.clone(),
                level_ceiling: c.level_ceiling,
                until: c.until.as_s(),
            })
            .collect();
        Ok(Standing {
            about,
            view,
            provisions,
            at,
        })
    }
}
