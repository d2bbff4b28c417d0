//! Runs as they were written last here, until the watch has told of that: a turn that looked at an older version would decide anew and meet a conflict.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crds::v1alpha1::JobRun;
use kube::{ResourceExt as _, core::DeserializeGuard, runtime::watcher::Event};

/// After this time whatever was written is told of, or gone.
const TOLD: Duration = Duration::from_mins(1);
/// Runs that are kept before old ones are looked for.
const MANY: usize = 1_000;

#[derive(Default)]
pub struct Latest(Mutex<HashMap<String, (Instant, Arc<JobRun>)>>);

impl Latest {
    /// Keeps a run as the API server has answered with it.
    pub fn wrote(&self, run: JobRun) {
        let mut all = self.0.lock().expect("no holder panics");
        if all.len() > MANY {
            all.retain(|_, (at, _)| at.elapsed() < TOLD);
        }
        let uid = run.uid().unwrap_or_default();
        all.insert(uid, (Instant::now(), Arc::new(run)));
    }

    /// What the watch tells is not kept here any longer than that.
    pub fn hear(&self, event: &Event<DeserializeGuard<JobRun>>) {
        if let Event::Apply(DeserializeGuard(Ok(run))) | Event::Delete(DeserializeGuard(Ok(run))) =
            event
        {
            self.than(run);
        }
    }

    /// The run in a later version than this one, where it was written here.
    pub fn than(&self, run: &JobRun) -> Option<Arc<JobRun>> {
        let mut all = self.0.lock().expect("no holder panics");
        let uid = run.uid()?;
        let (_, written) = all.get(&uid)?;
        if version(written) > version(run) {
            return Some(written.clone());
        }
        all.remove(&uid);
        None
    }
}

/// The API server counts versions upwards.
fn version(run: &JobRun) -> Option<u64> {
    run.resource_version()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(version: &str) -> JobRun {
        let spec = serde_json::from_str(r#"{"jobRef": {"name": "j"}}"#).expect("a spec");
        let mut run = JobRun::new("r", spec);
        run.metadata.uid = Some("r-uid".into());
        run.metadata.resource_version = Some(version.into());
        run
    }

    #[test]
    fn what_was_written_counts_until_the_watch_tells_of_it_or_of_more() {
        let latest = Latest::default();
        let than = |version: &str| {
            let later = latest.than(&run(version));
            later.and_then(|run| run.resource_version())
        };
        assert_eq!(than("9"), None);
        latest.wrote(run("10"));
        assert_eq!(than("9").as_deref(), Some("10"));
        assert_eq!(than("11"), None);
        assert_eq!(than("9"), None, "the watch never goes back");
        latest.wrote(run("12"));
        latest.hear(&Event::Apply(DeserializeGuard(Ok(run("11")))));
        assert_eq!(than("11").as_deref(), Some("12"));
        latest.hear(&Event::Delete(DeserializeGuard(Ok(run("13")))));
        assert_eq!(than("11"), None, "it is gone");
    }
}
