//! The pipeline's tests: a small federation in memory, real certificates and signatures, policies that lie.

mod answers;
mod identity;
mod leaves;
mod lying;
mod pages;
mod silence;
mod support;
mod withdrawal;
