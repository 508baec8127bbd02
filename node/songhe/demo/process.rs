//! One node as a process of its own: started, waited for until it serves, stopped by closing its input.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::found::Member;
use super::{Step, Tale};
use crate::cli::Failure;

/// A node that does not serve after this long has failed; an unoptimised build on a busy machine needs a while.
const START_S: u64 = 120;
/// A node that does not stop after this long is ended by its process id.
const STOP_S: u64 = 20;

/// A running node.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts a member's node and waits until it serves.
    pub(crate) async fn start(
        member: &Member,
        passphrase: &str,
        tale: &mut Tale,
    ) -> Result<Self, Failure> {
        let started = Instant::now();
        let fault = |e: &dyn std::fmt::Display| {
            Failure::Fault(format!("the node of {} did not start: {e}", member.id))
        };
        let program = std::env::current_exe().map_err(|e| fault(&e))?;
        let log = std::fs::File::create(&member.log).map_err(|e| fault(&e))?;
        let mut child = Command::new(program)
            .arg("serve")
            .arg("--data-dir")
            .arg(member.home.folder())
            .arg("--until-stdin-ends")
            .env("SONGHE_PASSPHRASE", passphrase)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(log))
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| fault(&e))?;
        let stdout = child
            .stdout
            .take()
            .ok_or_else(|| fault(&"it has no output"))?;
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(Duration::from_secs(START_S), lines.next_line())
            .await
            .map_err(|_| fault(&"it took too long"))?
            .map_err(|e| fault(&e))?;
        let ready: Value = line
            .as_deref()
            .and_then(|l| serde_json::from_str(l).ok())
            .unwrap_or_default();
        if ready.get("ready") != Some(&Value::Bool(true)) {
            let told = std::fs::read_to_string(&member.log).unwrap_or_default();
            return Err(fault(&told.lines().last().unwrap_or("it gave no reason")));
        }
        tale.tell(&Step {
            name: "start",
            verb: "serve",
            from: member.id.to_string(),
            to: String::new(),
            tier: String::new(),
            outcome: "serving".into(),
            reason: String::new(),
            leaf: None,
            ms: started.elapsed().as_millis(),
            ok: true,
            told: format!(
                "{} serves members on {} and its own systems on {}",
                member.name, member.listen.peer, member.listen.gateway
            ),
        });
        Ok(Self { child })
    }

    /// Closes its input and waits until it ended in good order.
    pub(crate) async fn stop(mut self) {
        drop(self.child.stdin.take());
        if tokio::time::timeout(Duration::from_secs(STOP_S), self.child.wait())
            .await
            .is_err()
        {
            drop(self.child.kill().await);
        }
    }
}
