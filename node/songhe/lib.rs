//! The node itself: sockets, clock, process and command line around the rooms that do the work.
//!
//! What it is for: one binary, `songhe`, that agencies, auditors, administrators and operators run.
//! What comes in: command lines, connections, files. What goes out: gRPC answers, tables, exit codes.
//! What it may touch: everything the other rooms may not: sockets, the system's clock and randomness, the terminal.
//! Where to start reading: `serve.rs` (a running node), `peer_service.rs` and `gateway_service.rs` (its two faces),
//! then `cli` for the commands.
#![forbid(unsafe_code)]

pub mod cli;
pub mod clock;
pub mod config;
pub mod convert;
pub mod demo;
pub mod dial;
pub mod federated;
pub mod gateway;
pub mod home;
pub mod ingest;
pub mod net;
pub mod node;
pub mod peer_service;
pub mod quota;
mod routers;
pub mod serve;
pub mod status;
pub mod subjects;
mod watch;
