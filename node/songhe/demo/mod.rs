//! `songhe demo`: founds a federation of three, each node its own process, loads data, and plays a story with real calls.

mod found;
mod load;
mod process;
mod story;

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::output;
use crate::cli::{Done, Failure, Outcome};
use found::Federation;
use process::Process;

/// The demonstration.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// End after the story instead of staying up
    #[arg(long)]
    once: bool,
    /// One JSON object for each step, and a summary as the last line
    #[arg(long)]
    json: bool,
    /// Load the FHIR files of this folder (.json, .ndjson, .gz of both; subfolders too) instead of generated data
    #[arg(long, value_name = "DIR")]
    input: Option<PathBuf>,
    /// Keep each node's folder here, one subfolder a node; it must be empty or not exist
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Elders of the generated city (1 to 100000)
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    elders: u32,
    /// Seed of the generated city
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// One step of the story, as it went.
#[derive(Debug)]
pub(crate) struct Step {
    /// What it shows.
    pub(crate) name: &'static str,
    pub(crate) verb: &'static str,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) tier: String,
    pub(crate) outcome: String,
    pub(crate) reason: String,
    pub(crate) leaf: Option<u64>,
    pub(crate) ms: u128,
    /// Whether it ended as it should.
    pub(crate) ok: bool,
    /// A sentence for people.
    pub(crate) told: String,
}

/// The steps so far, told as they happen.
#[derive(Debug)]
pub(crate) struct Tale {
    json: bool,
    pub(crate) steps: u64,
    pub(crate) failed: Vec<&'static str>,
}

impl Tale {
    /// Tells a step.
    pub(crate) fn tell(&mut self, step: &Step) {
        self.steps += 1;
        if !step.ok {
            self.failed.push(step.name);
        }
        if self.json {
            let text = |t: &str| if t.is_empty() { Value::Null } else { json!(t) };
            output::json(&json!({
                "step": step.name, "verb": step.verb, "from": step.from, "to": text(&step.to), "tier": text(&step.tier),
                "outcome": step.outcome, "reason": text(&step.reason), "leaf": step.leaf, "ms": u64::try_from(step.ms).unwrap_or(u64::MAX),
                "ok": step.ok,
            }));
            return;
        }
        let mark = if step.ok { "✓" } else { "✗" };
        let to = if step.to.is_empty() {
            String::new()
        } else {
            format!(" → {}", step.to)
        };
        let leaf = step.leaf.map(|l| format!(", leaf {l}")).unwrap_or_default();
        output::line(&format!(
            "{mark} {:>6} ms  {}{to}  {}{leaf}",
            step.ms, step.from, step.told
        ));
    }
}

/// Runs the demonstration.
///
/// # Errors
/// When a node cannot be started or a step did not end as it should.
pub async fn run(args: DemoArgs) -> Outcome {
    let (folder, ours) = match &args.data_dir {
        Some(folder) => (folder.clone(), false),
        None => (temporary_folder()?, true),
    };
    let outcome = play(&args, &folder).await;
    if let (Err(failure), true) = (&outcome, args.json) {
        // Programs find the summary on the last line, whatever happened.
        output::json(&json!({"summary": {"ok": false, "error": failure.to_string()}}));
    }
    if ours {
        drop(std::fs::remove_dir_all(&folder));
    }
    outcome
}

fn temporary_folder() -> Result<PathBuf, Failure> {
    let name = record::id::hex_encode(&crate::home::random16()?);
    Ok(std::env::temp_dir().join(format!("songhe-demo-{name}")))
}

async fn play(args: &DemoArgs, folder: &std::path::Path) -> Outcome {
    let empty = std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none());
    if !empty {
        return Err(Failure::Fault(format!(
            "{}: the folder is not empty; name another",
            folder.display()
        )));
    }
    if let Some(input) = &args.input
        && !input.is_dir()
    {
        return Err(Failure::Fault(format!(
            "{}: there is no such folder",
            input.display()
        )));
    }
    let mut tale = Tale {
        json: args.json,
        steps: 0,
        failed: Vec::new(),
    };
    let federation = Federation::found(folder, args.seed, args.elders, &mut tale)?;
    let mut processes = Vec::new();
    for member in &federation.members {
        processes.push(Process::start(member, &federation.passphrase, &mut tale).await?);
    }
    let loaded = match &args.input {
        Some(input) => load::input(&federation, input, &mut tale).await?,
        None => load::generated(&federation, &mut tale).await?,
    };
    story::play(&federation, &loaded, &mut tale).await?;
    let ok = tale.failed.is_empty() && loaded.adds_up();
    if !args.once {
        stay(args, &federation, &loaded).await;
    }
    for process in processes {
        process.stop().await;
    }
    if args.json {
        output::json(&json!({"summary": {
            "ok": ok, "steps": tale.steps, "failed": tale.failed, "members": federation.members.len(),
            "data": loaded.summary(),
        }}));
    } else {
        let counts = loaded.counts;
        output::line(&format!(
            "{}: {} steps, {} records stored, {} in quarantine, {} refused by name",
            if ok {
                "all steps ended as they should"
            } else {
                "NOT all steps ended as they should"
            },
            tale.steps,
            counts.stored + counts.unchanged,
            counts.quarantined,
            counts.refused
        ));
    }
    if ok {
        Ok(Done::Whole)
    } else if args.json {
        Ok(Done::InPart)
    } else {
        Err(Failure::Fault(format!(
            "steps that did not end as they should: {:?}",
            tale.failed
        )))
    }
}

/// Prints where everything is and waits to be stopped.
async fn stay(args: &DemoArgs, federation: &Federation, loaded: &load::Loaded) {
    let nodes: Vec<Value> = federation
        .members
        .iter()
        .map(|m| {
            json!({"member": m.id, "name": m.name, "peer": m.listen.peer.to_string(), "gateway": m.listen.gateway.to_string(),
                   "data_dir": m.home.folder()})
        })
        .collect();
    if args.json {
        output::json(&json!({"serving": nodes}));
    } else {
        output::line("");
        output::line("the federation stays up; try, in another terminal:");
        for command in story::examples(federation, loaded) {
            output::line(&format!("  {command}"));
        }
        output::line("stop it with Ctrl-C");
    }
    let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    let Ok(mut terminate) = terminate else { return };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
