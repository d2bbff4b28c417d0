//! The volume of the records: how full it is. Filling, it is told of; nearly full, output is no longer kept, so that what is left is for rows, the ledger and
//! the audit of what was done.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use serving::telemetry::chain;
use tokio::time::{self, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Percent of the volume in use from which it is told of, and from which output is no longer kept.
const FILLING: u64 = 80;
const SCARCE: u64 = 90;
/// Time between looks that tell.
const PERIOD: Duration = Duration::from_mins(1);

/// How full it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fullness {
    Ample,
    Filling,
    Scarce,
}

/// What is measured: percent in use of the volume that a folder is on.
pub type Measure = fn(&Path) -> Option<u64>;

/// The volume that a folder is on.
#[derive(Clone)]
pub struct Volume {
    pub folder: PathBuf,
    pub measure: Measure,
}

impl Volume {
    /// What cannot be measured is taken for ample: the store says by itself when it can write no more.
    pub fn fullness(&self) -> Fullness {
        match (self.measure)(&self.folder) {
            Some(SCARCE..) => Fullness::Scarce,
            Some(FILLING..) => Fullness::Filling,
            _ => Fullness::Ample,
        }
    }

    /// Measures and tells until the token is cancelled.
    pub async fn watch(
        self,
        client: Client,
        pod: ObjectReference,
        metrics: Metrics,
        shutdown: CancellationToken,
    ) {
        let reporter: Reporter = "pilothouse-server".into();
        let recorder = Recorder::new(client, reporter);
        let watching = async {
            let mut turns = time::interval(PERIOD);
            turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut told = Fullness::Ample;
            loop {
                turns.tick().await;
                let percent = (self.measure)(&self.folder).unwrap_or(0);
                metrics.volume(percent);
                let now = self.fullness();
                if now > told {
                    tell(&recorder, &pod, now, percent).await;
                }
                told = now;
            }
        };
        shutdown.run_until_cancelled(watching).await;
    }
}

async fn tell(recorder: &Recorder, pod: &ObjectReference, now: Fullness, percent: u64) {
    let what = if now == Fullness::Scarce {
        "output of executions is no longer kept, only their rows"
    } else {
        "from 90 % on output is no longer kept"
    };
    let note = format!(
        "the volume of the records is {percent} % full; {what}. Enlarge its claim, or lower server.retention.size to four fifths of it"
    );
    tracing::error!(percent, "{note}");
    let event = Event {
        type_: EventType::Warning,
        reason: "RecordsVolumeFilling".to_owned(),
        note: Some(note),
        action: "Store".to_owned(),
        secondary: None,
    };
    if let Err(error) = recorder.publish(&event, pod).await {
        tracing::warn!(error = chain(&error), "an Event could not be told");
    }
}

/// Percent in use, of what a process that is not root may use.
pub fn percent(folder: &Path) -> Option<u64> {
    let volume = rustix::fs::statvfs(folder).ok()?;
    let used = volume.f_blocks.checked_sub(volume.f_bfree)?;
    let usable = used + volume.f_bavail;
    Some((used * 100).div_ceil(usable.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(measure: Measure) -> Fullness {
        Volume {
            folder: PathBuf::from("/"),
            measure,
        }
        .fullness()
    }

    #[test]
    fn a_volume_is_told_of_before_output_is_given_up() {
        assert_eq!(measured(|_| Some(79)), Fullness::Ample);
        assert_eq!(measured(|_| Some(80)), Fullness::Filling);
        assert_eq!(measured(|_| Some(90)), Fullness::Scarce);
        assert_eq!(measured(|_| None), Fullness::Ample);
    }

    #[test]
    fn a_real_volume_is_measured() {
        let percent = percent(Path::new("/")).expect("it is mounted");
        assert!(percent <= 100, "{percent}");
    }
}
