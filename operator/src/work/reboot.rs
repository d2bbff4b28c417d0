//! A reboot: it has succeeded when the machine answers again under another boot ID.

use crds::execution::State;
use decide::plan::ScriptBody;
use reach::host;
use tokio::time::{Instant, sleep};

use super::{Outcome, REST, Work, host as script};

/// What the script hands on before it ends the machine.
const BOOT_ID: &str = "boot_id";

/// Has the machine rebooted, and waits until it is back. Taken up by another operator, it reads from the host's journal which boot it was to end.
pub async fn machine(work: &Work, body: &ScriptBody) -> Outcome {
    let (outcome, mut given) = script::carried(work, body).await;
    let Some(before) = given.remove(BOOT_ID) else {
        return outcome;
    };
    match (outcome.state, outcome.reason.as_str()) {
        // Its program and its journal's supervisor end with the machine, one way or the other.
        (State::Unknown, "Lost" | "CutOff") | (State::Failed, "Signaled") => {
            let back = back(work, &before).await;
            Outcome {
                output_bytes: outcome.output_bytes,
                dropped_bytes: outcome.dropped_bytes,
                started_at: outcome.started_at,
                ..back
            }
        }
        _ => outcome,
    }
}

/// Looks until the machine is up again.
async fn back(work: &Work, before: &str) -> Outcome {
    let deadline = Instant::now() + work.reattach();
    loop {
        let looked = match script::machine(work).await {
            Ok(target) => host::facts(&work.ctx.fleet, &target, deadline).await.ok(),
            Err(_) => None,
        };
        let now = looked
            .map(|seen| seen.facts.boot_id)
            .filter(|id| !id.is_empty());
        match now {
            Some(now) if now != before => return Outcome::new(State::Succeeded, "", ""),
            _ if work.cancel.is_cancelled() => {
                return Outcome::new(
                    State::Unknown,
                    "Cancelled",
                    "cancelled while the machine was on its way up",
                );
            }
            _ if Instant::now() >= deadline => {
                return Outcome::new(
                    State::TimedOut,
                    "NotBack",
                    "the machine did not come back under another boot ID",
                );
            }
            _ => sleep(REST).await,
        }
    }
}
