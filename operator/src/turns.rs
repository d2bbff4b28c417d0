//! Turns of runs that are taken together, shared out among namespaces. Of runs that have not begun few are, so that under a flood runs end before others begin.

use kube::ResourceExt as _;

use crds::v1alpha1::JobRun;

use crate::places::{Place, Places};

/// Turns at once, and those among them that may be of fresh runs.
const TURNS: usize = 32;
const FRESH: usize = 8;

pub struct Turns {
    all: Places,
    fresh: Places,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            all: Places::new(TURNS),
            fresh: Places::new(FRESH),
        }
    }
}

/// A turn, over when dropped.
pub struct Turn {
    _of_all: Place,
    _of_fresh: Option<Place>,
}

impl Turns {
    /// Waits for the turn of a run.
    pub async fn take(&self, run: &JobRun) -> Turn {
        let (namespace, name) = (run.namespace().unwrap_or_default(), run.name_any());
        let of_fresh = if is_fresh(run) {
            Some(self.fresh.take(&namespace, &name).await)
        } else {
            None
        };
        Turn {
            _of_all: self.all.take(&namespace, &name).await,
            _of_fresh: of_fresh,
        }
    }
}

/// Nothing of it has begun.
fn is_fresh(run: &JobRun) -> bool {
    let status = run.status.as_ref();
    status.is_none_or(|s| s.started_at.is_none() && s.finished_at.is_none())
}

#[cfg(test)]
mod tests {
    use crds::v1alpha1::JobRunStatus;
    use futures::FutureExt as _;
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn run(namespace: &str, begun: bool) -> JobRun {
        let spec = serde_json::from_str(r#"{"jobRef": {"name": "j"}}"#).expect("a spec");
        let mut run = JobRun::new("r", spec);
        run.metadata.namespace = Some(namespace.into());
        run.status = Some(JobRunStatus {
            started_at: begun.then_some(Time(Timestamp::UNIX_EPOCH)),
            ..JobRunStatus::default()
        });
        run
    }

    #[test]
    fn a_flood_of_fresh_runs_leaves_turns_for_other_teams_and_for_those_that_have_begun() {
        let turns = Turns::default();
        let take = |namespace, begun| turns.take(&run(namespace, begun)).now_or_never();
        let flood: Vec<_> = std::iter::from_fn(|| take("loud", false)).collect();
        assert!(flood.len() < FRESH, "{} of {FRESH}", flood.len());
        let quiet = take("quiet", false);
        assert!(quiet.is_some(), "another team begins at once");
        let begun: Vec<_> = std::iter::from_fn(|| take("loud", true)).collect();
        assert!(
            begun.len() > FRESH,
            "{} turns of what has begun",
            begun.len()
        );
        drop((flood, begun));
        assert!(take("loud", false).is_some());
    }
}
