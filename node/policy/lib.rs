//! Policy decisions: the Rego bundle compiled to WebAssembly, evaluated in a supervised pool.
//!
//! What it is for: answering "may this leave?" with a policy an administrator wrote, without trusting it.
//! What comes in: a bundle (module, tables, sources, manifest) and [`record::Question`]s.
//! What goes out: [`record::Verdict`]s, or a [`record::decision::PolicyFault`], which is a denial.
//! What it may touch: the bundle's folder when it is loaded; one thread that keeps evaluations in time.
//! Where to start reading: [`bundle`], then [`engine`]; the policy itself is in `policies/`.
#![forbid(unsafe_code)]

pub mod bundle;
pub mod engine;
pub mod tables;

mod answer;
mod canonical;
mod pool;
mod sandbox;
mod ticker;

#[cfg(test)]
mod differential;
#[cfg(test)]
mod generator;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod papers;

pub use bundle::{Bundle, BundleFault, Manifest};
pub use engine::{Engine, EngineFault, EngineOptions};
pub use tables::{InvalidTables, Tables};
