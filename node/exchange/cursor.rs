//! Cursors: where a page ended, sealed, and bound to the asking member, the person and the query.

use ledger::Position;
use record::{ReasonCode, Refusal};
use ring::digest;
use serde::{Deserialize, Serialize};

use crate::holder::Holder;
use crate::statement::Statement;

/// Where a fetch goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Which record type of the query.
    pub(crate) type_at: usize,
    /// Behind which record of that type: clinical time and sequence number.
    pub(crate) after: Option<(i64, u64)>,
    /// Records given so far.
    pub(crate) given: u32,
}

impl Progress {
    pub(crate) fn position(&self) -> Option<Position> {
        self.after
            .map(|(effective_ms, seq)| Position { effective_ms, seq })
    }
}

impl Holder {
    pub(crate) fn seal_cursor(
        &self,
        statement: &Statement,
        progress: &Progress,
    ) -> Result<String, Refusal> {
        let plain = serde_json::to_vec(progress).map_err(|_| Refusal::new(ReasonCode::Internal))?;
        self.cursor_key()
            .seal(&context(statement), &plain, self.entropy())
            .map_err(|_| Refusal::new(ReasonCode::Internal))
    }

    /// # Errors
    /// `CURSOR_INVALID` for a cursor of another member, person or query, or one that this node did not make.
    pub(crate) fn open_cursor(&self, statement: &Statement) -> Result<Progress, Refusal> {
        if statement.cursor.is_empty() {
            return Ok(Progress::default());
        }
        let invalid = || Refusal::new(ReasonCode::CursorInvalid);
        let plain = self
            .cursor_key()
            .open(&context(statement), &statement.cursor)
            .map_err(|_| invalid())?;
        serde_json::from_slice(&plain).map_err(|_| invalid())
    }
}

/// Everything a cursor is good for: the same member asking the same thing about the same person.
fn context(statement: &Statement) -> Vec<u8> {
    let query = &statement.query;
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut part = |bytes: &[u8]| {
        hash.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(bytes);
    };
    part(statement.requester.as_str().as_bytes());
    part(statement.pseudonym.as_bytes());
    for code in &query.types {
        part(code.as_str().as_bytes());
    }
    for time in [query.since, query.until] {
        // No bound at all is not the bound 0.
        part(&time.map_or_else(Vec::new, |t| t.as_ms().to_be_bytes().to_vec()));
    }
    part(&query.limit.to_be_bytes());
    part(&[u8::from(query.history)]);
    hash.finish().as_ref().to_vec()
}
