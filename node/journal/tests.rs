//! The journal's own suite: faults, places, models, full disks, threads, killed processes, hostile bytes.
#![expect(clippy::cast_possible_truncation, reason = "test numbers are small")]

mod erasing;
mod faults;
mod hostile;
mod kill;
mod model;
mod opening;
mod places;
mod reading;
mod space;
mod support;
mod threads;
