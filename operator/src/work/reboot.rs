//! A reboot: it has succeeded when the machine answers again under another boot ID.

use crds::execution::State;
use decide::plan::ScriptBody;
use reach::host;
use tokio::time::Instant;

use super::{
    Outcome, REST, Work, host as script,
    look::{Rests, Seen},
};
use crate::error::chain;

/// What the script hands on before it ends the machine.
const BOOT_ID: &str = "boot_id";

/// Has the machine rebooted, and waits until it is back. Taken up by another operator, it reads from the host's journal which boot it was to end.
pub async fn machine(work: &Work, body: &ScriptBody) -> Outcome {
    let (outcome, mut given) = script::carried(work, || script::ready(work, body)).await;
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

/// Looks until the machine is up again. Cancelled meanwhile, it is on its way up all the same.
async fn back(work: &Work, before: &str) -> Outcome {
    let look = || async {
        let deadline = Instant::now() + work.reattach();
        let target = script::machine(work).await?;
        let looked = host::facts(&work.ctx.ways.fleet, &target, deadline).await;
        Ok(match looked.map(|seen| seen.facts.boot_id) {
            Ok(now) if !now.is_empty() && now != before => Seen::There,
            Ok(_) => Seen::Waits("the machine answers under the boot ID that it had".into()),
            Err(error) => Seen::Waits(chain(&error)),
        })
    };
    let seen = work
        .look(work.reattach(), Rests::of(REST), look, |_| {})
        .await;
    match seen.state {
        State::TimedOut => Outcome {
            reason: "NotBack".into(),
            ..seen
        },
        State::Cancelled => Outcome {
            state: State::Unknown,
            ..seen
        },
        _ => seen,
    }
}
