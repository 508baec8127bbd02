//! Crash tests: nodes killed, files damaged, disks filled; what was acknowledged must be there, what is damaged must be told.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a test may fail loudly, and prints what it measured"
)]

#[path = "../support/mod.rs"]
mod support;

mod damage;
mod full;
mod kill;
mod load;
mod model;
mod people;
mod stop;
mod stopped;
