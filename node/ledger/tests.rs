//! The ledger's tests: real folders, small segments, every interleaving the machine offers.
#![expect(unused_must_use, reason = "here an acknowledgement allows nothing")]

mod batches;
mod canary;
mod consents;
mod damage;
mod erasing;
mod paging;
mod quarantine;
mod rebuilding;
mod records;
mod rotating;
mod storm;
mod support;
