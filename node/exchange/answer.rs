//! The whole way of a request, on one screen: identity → subject → consent → policy → release → journal.

use federation::VerifiedPeer;
use record::decision::Verb;
use record::{ReasonCode, Refusal};

use crate::cursor::Progress;
use crate::denial::{Known, Refused};
use crate::holder::Holder;
use crate::journal::{Released, kept_moving, should_decide_again};
use crate::release::{Located, RecordPage};
use crate::statement::Signed;
use crate::subject::About;

/// How often a decision is made anew because consent moved under it, before the node gives up.
const DECISIONS_MAX: usize = 8;

/// A fetch under way: identity and subject are settled, consent and policy are judged anew for each page.
#[derive(Debug)]
pub struct Fetching {
    about: About,
    progress: Progress,
    done: bool,
}

impl Holder {
    /// Answers a locate: identity → subject → consent → policy → release → journal.
    ///
    /// # Errors
    /// [`Refused`], recorded.
    pub async fn locate(
        &self,
        peer: &VerifiedPeer,
        signed: Signed,
    ) -> Result<Released<Located>, Refused> {
        let mut about = self.admit(peer, signed, Verb::Locate).await?;
        for _ in 0..DECISIONS_MAX {
            let prepared = async {
                let standing = self.look_up_consent(about.clone()).await?;
                let permit = self.permit(standing)?;
                self.release_located(permit)
            };
            let disclosure = match prepared.await {
                Ok(disclosure) => disclosure,
                Err(refusal) if is_erased(&refusal) => {
                    about = self.look_again(about).await?;
                    continue;
                }
                Err(refusal) => return Err(self.refuse_about(&about, refusal).await),
            };
            match self.try_journal(disclosure).await {
                Ok(released) => return Ok(released),
                Err(fault) if should_decide_again(&fault) => {}
                Err(fault) => return Err(Refused::unrecorded(Refusal::from(&fault))),
            }
        }
        Err(self.refuse_about(&about, kept_moving()).await)
    }

    /// Begins a fetch: identity → subject. The pages follow by [`Holder::next_page`].
    ///
    /// # Errors
    /// [`Refused`], recorded.
    pub async fn begin_fetch(
        &self,
        peer: &VerifiedPeer,
        signed: Signed,
    ) -> Result<Fetching, Refused> {
        let about = self.admit(peer, signed, Verb::Fetch).await?;
        match self.open_cursor(about.caller().statement()) {
            Ok(progress) => Ok(Fetching {
                about,
                progress,
                done: false,
            }),
            Err(refusal) => Err(self.refuse_about(&about, refusal).await),
        }
    }

    /// The next page: consent → policy → release → journal. `None` after the last. A withdrawal in between ends it.
    ///
    /// # Errors
    /// [`Refused`], recorded.
    pub async fn next_page(
        &self,
        fetching: &mut Fetching,
    ) -> Result<Option<Released<RecordPage>>, Refused> {
        if fetching.done {
            return Ok(None);
        }
        let page = self.page(fetching).await;
        // A refusal ends the fetch: what follows needs a new request.
        fetching.done |= page.is_err();
        page.map(Some)
    }

    async fn page(&self, fetching: &mut Fetching) -> Result<Released<RecordPage>, Refused> {
        for _ in 0..DECISIONS_MAX {
            let prepared = async {
                let standing = self.look_up_consent(fetching.about.clone()).await?;
                let permit = self.permit(standing)?;
                self.release_page(permit, fetching.progress)
            };
            let disclosure = match prepared.await {
                Ok(disclosure) => disclosure,
                Err(refusal) if is_erased(&refusal) => {
                    fetching.about = self.look_again(fetching.about.clone()).await?;
                    continue;
                }
                Err(refusal) => return Err(self.refuse_about(&fetching.about, refusal).await),
            };
            let (progress, done) = (
                disclosure.payload.progress,
                disclosure.payload.cursor.is_none(),
            );
            match self.try_journal(disclosure).await {
                Ok(released) => {
                    fetching.progress = progress;
                    fetching.done = done;
                    return Ok(released);
                }
                Err(fault) if should_decide_again(&fault) => {}
                Err(fault) => return Err(Refused::unrecorded(Refusal::from(&fault))),
            }
        }
        Err(self.refuse_about(&fetching.about, kept_moving()).await)
    }

    async fn admit(
        &self,
        peer: &VerifiedPeer,
        signed: Signed,
        verb: Verb,
    ) -> Result<About, Refused> {
        let statement = signed.statement.clone();
        let identified = self.identify(peer, signed).and_then(|caller| {
            // A statement signed for one verb is not good for another: the policy is asked about the one that was signed.
            if caller.statement().verb == verb {
                self.find_subject(caller)
            } else {
                Err(Refusal::with_detail(
                    ReasonCode::RequestMalformed,
                    "the statement is signed for another verb",
                ))
            }
        });
        match identified {
            Ok(about) => Ok(about),
            Err(refusal) => {
                let known = Known {
                    peer: Some(&peer.member().id),
                    statement: Some(&statement),
                    about: None,
                };
                Err(self.refuse(known, refusal).await)
            }
        }
    }

    /// The person's data was erased meanwhile: from now on the person is as good as unknown.
    async fn look_again(&self, about: About) -> Result<About, Refused> {
        match self.find_subject(about.caller().clone()) {
            Ok(about) => Ok(about),
            Err(refusal) => Err(self.refuse_about(&about, refusal).await),
        }
    }

    async fn refuse_about(&self, about: &About, refusal: Refusal) -> Refused {
        let caller = about.caller();
        let known = Known {
            peer: Some(&caller.agency().member),
            statement: Some(caller.statement()),
            about: Some(about),
        };
        self.refuse(known, refusal).await
    }
}

fn is_erased(refusal: &Refusal) -> bool {
    refusal.reason == ReasonCode::SubjectErased
}
