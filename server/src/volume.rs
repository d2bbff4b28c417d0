//! The volume of the records, measured: how full it is stands in a metric, and an Event tells of it when it fills.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use decide::volume::{Fullness, fullness, note};
use k8s_openapi::api::core::v1::ObjectReference;
use serving::Events;
use tokio::time::{self, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Time between looks that tell.
const PERIOD: Duration = Duration::from_mins(1);

/// What is measured: percent in use of the volume that a folder is on.
pub type Measure = fn(&Path) -> Option<u64>;

/// The volume that a folder is on.
#[derive(Clone)]
pub struct Volume {
    pub folder: PathBuf,
    pub measure: Measure,
}

impl Volume {
    pub fn fullness(&self) -> Fullness {
        fullness((self.measure)(&self.folder))
    }

    /// Measures and tells until the token is cancelled.
    pub async fn watch(
        self,
        events: Events,
        about: ObjectReference,
        metrics: Metrics,
        shutdown: CancellationToken,
    ) {
        let watching = async {
            let mut turns = time::interval(PERIOD);
            turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut before = Fullness::Ample;
            loop {
                turns.tick().await;
                let percent = (self.measure)(&self.folder);
                metrics.volume(percent.unwrap_or(0));
                let now = fullness(percent);
                if now > before {
                    let note = note(now, percent.unwrap_or(0));
                    tracing::error!(percent, "{note}");
                    let reason = "RecordsVolumeFilling";
                    events.tell(&about, true, reason, "Store", &note).await;
                }
                before = now;
            }
        };
        shutdown.run_until_cancelled(watching).await;
    }
}

/// Percent in use, of what a process that is not root may use.
pub fn percent(folder: &Path) -> Option<u64> {
    let volume = rustix::fs::statvfs(folder).ok()?;
    let used = volume.f_blocks.checked_sub(volume.f_bfree)?;
    let usable = used + volume.f_bavail;
    Some((used * 100).div_ceil(usable.max(1)))
}

/// The volume is PostgreSQL's, and so is its measure.
pub const fn elsewhere(_folder: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_volume_is_measured() {
        let percent = percent(Path::new("/")).expect("it is mounted");
        assert!(percent <= 100, "{percent}");
    }
}
