//! Waiting for a condition instead of for a time.

use std::future::Future;
use std::time::{Duration, Instant};

/// Waited at most for what takes a second or two on a machine that does nothing else.
pub const LONGEST: Duration = Duration::from_secs(60);

/// Tries until the condition holds.
pub async fn until<F: Future<Output = bool>>(
    longest: Duration,
    what: &str,
    mut holds: impl FnMut() -> F,
) {
    let started = Instant::now();
    while !holds().await {
        assert!(
            started.elapsed() < longest,
            "waited {longest:?} in vain: {what}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
