//! System tests: real processes, real sockets, real files.
#![expect(
    clippy::unwrap_used,
    clippy::string_slice,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test may fail loudly"
)]

#[path = "../support/mod.rs"]
mod support;

mod caller;
mod erase;
mod exchange;
mod federated;
mod gateway;
mod identity;
mod needles;
mod operation;
mod privacy;
mod proxy;
mod put;
mod quarantine;
mod renewal;
mod trail;
mod wait;
