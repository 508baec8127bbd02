//! `songhe generate`: a synthetic city's records in a folder.

use std::path::PathBuf;

use city::{City, Plan};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use record::{DistrictCode, Timestamp};
use serde_json::json;

use super::output;
use super::{Done, Failure, Outcome};

/// A synthetic city: the same seed and size give the same bytes.
#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// Folder to write into; it must not exist or be empty
    #[arg(long)]
    out: PathBuf,
    /// Seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of elders (1 to 1000000)
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    elders: u32,
    /// Number of hospitals
    #[arg(long, default_value_t = 1)]
    hospitals: u16,
    /// Number of civil-affairs bureaus
    #[arg(long, default_value_t = 1)]
    bureaus: u16,
    /// Number of community platforms
    #[arg(long, default_value_t = 1)]
    communities: u16,
    /// District or city, GB/T 2260
    #[arg(long, default_value = "500112")]
    district: String,
    /// The day the city is generated for, RFC 3339; fixed, so that the same seed gives the same bytes
    #[arg(long, default_value = "2026-11-01T00:00:00Z")]
    today: String,
    /// One JSON object at the end
    #[arg(long)]
    json: bool,
}

/// A plan with one agency of each kind, as the demonstration uses it.
pub(crate) fn plan(seed: u64, elders: u32, today: Timestamp) -> Result<Plan, Failure> {
    let district = DistrictCode::parse("500112").map_err(|e| Failure::Fault(e.to_string()))?;
    Ok(Plan {
        seed,
        elders,
        hospitals: 1,
        bureaus: 1,
        communities: 1,
        district,
        today,
    })
}

/// A bar on standard error that shows only on a terminal.
pub(crate) fn progress_bar(total: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(total);
    if let Ok(style) =
        ProgressStyle::with_template("{msg} [{bar:32}] {human_pos}/{human_len} {per_sec} {eta}")
    {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar
}

pub(super) fn run(args: &GenerateArgs) -> Outcome {
    let fault = |e: &dyn std::fmt::Display| Failure::Fault(e.to_string());
    let district = DistrictCode::parse(&args.district).map_err(|e| fault(&e))?;
    let today = Timestamp::parse_rfc3339(&args.today)
        .ok_or_else(|| Failure::Fault("--today is a moment like 2026-11-01T00:00:00Z".into()))?;
    let plan = Plan {
        seed: args.seed,
        elders: args.elders,
        hospitals: args.hospitals,
        bureaus: args.bureaus,
        communities: args.communities,
        district,
        today,
    };
    let city = City::new(plan).map_err(|e| fault(&e))?;
    let bar = progress_bar(args.elders.into(), "elders");
    let written = city::folder::write_folder(&city, &args.out, |done, total| {
        bar.set_length(total.into());
        bar.set_position(done.into());
    })
    .map_err(|e| fault(&e))?;
    bar.finish_and_clear();
    let summary = json!({
        "out": args.out, "elders": written.elders, "records": written.records, "bytes": written.bytes, "seed": args.seed,
    });
    if args.json {
        output::json(&summary);
    } else {
        output::line(&format!(
            "{} elders, {} records, {} bytes in {}",
            written.elders,
            written.records,
            written.bytes,
            args.out.display()
        ));
    }
    Ok(Done::Whole)
}
