//! The wire: `songhe.v1` messages, clients and servers, generated from `proto/songhe/v1` without protoc.
//!
//! What it is for: what travels between nodes, and between a node and its agency's own systems.
//! What comes in: the .proto files. What goes out: prost messages and tonic services.
//! What it may touch: nothing. Meaning is given to messages only at the edge of the node.
//! Where to start reading: `songhe/v1/peer.proto`, then `gateway.proto`.
#![forbid(unsafe_code)]

/// The messages and services of `songhe.v1`.
#[allow(missing_docs, missing_debug_implementations, clippy::all)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/songhe.v1.rs"));
}

/// The encoded `FileDescriptorSet`, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/songhe.v1.bin"));

/// The protocol version these files describe, as requests name it.
pub const PROTOCOL: u32 = 1;
