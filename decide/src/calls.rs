//! Jobs that run other Jobs: what they name is there, does not lead back to them, and is part of what they are.

use std::collections::{BTreeMap, BTreeSet};

use crds::v1alpha1::{JobSpec, ScriptSpec};
use sha2::{Digest as _, Sha256};

use crate::{
    Refusal,
    kept::{self, Store},
};

/// Scripts by name, with their digests.
pub type Scripts = BTreeMap<String, (ScriptSpec, String)>;

/// A Job that a step names, and the Scripts that its own steps name.
#[derive(Clone, Debug)]
pub struct Written {
    pub job: JobSpec,
    pub scripts: Scripts,
}

/// Jobs that are reached from one, by name.
pub type Jobs = BTreeMap<String, Written>;

/// What a job names, and all that the Jobs name that it runs, however far.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    pub scripts: Scripts,
    pub jobs: Jobs,
    /// What Parameters hold that values come from, of all of these Jobs.
    pub kept: Store,
}

/// Jobs one below the other at most: a run tells of each where it comes from.
const DEEP: usize = 5;

/// Jobs that one reaches at most.
pub const MANY: usize = 50;

/// The digest of what a run does, and those of the Jobs that it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revisions {
    pub own: String,
    pub of: BTreeMap<String, String>,
}

/// Jobs that are still to be read of those that a job runs, however far: each once, and hardly more than it may run.
#[derive(Debug, Default)]
pub struct Unread {
    left: Vec<String>,
    told: BTreeSet<String>,
}

impl Unread {
    pub fn of(job: &JobSpec) -> Self {
        let mut unread = Self::default();
        unread.read(job);
        unread
    }

    /// Takes in what one that was read runs.
    pub fn read(&mut self, job: &JobSpec) {
        self.left.extend(named(job).map(str::to_owned));
    }
}

impl Iterator for Unread {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        if self.told.len() > MANY {
            return None;
        }
        while let Some(name) = self.left.pop() {
            if self.told.insert(name.clone()) {
                return Some(name);
            }
        }
        None
    }
}

/// Names of the Jobs that a job's steps run.
pub fn named(job: &JobSpec) -> impl Iterator<Item = &str> {
    let steps = job.all_steps().filter_map(|step| step.job.as_ref());
    steps.map(|job| job.name.as_str())
}

/// What a job and all that it reaches are, or what of it cannot be run.
pub fn revisions(name: &str, job: &JobSpec, reached: &Contents) -> Result<Revisions, Refusal> {
    if reached.jobs.len() > MANY {
        let message = format!(
            "spec.steps: the job runs more than {MANY} other Jobs, however far; let it run fewer"
        );
        return Err(Refusal::new("TooManyJobs", message));
    }
    let mut walk = Walk {
        jobs: &reached.jobs,
        kept: &reached.kept,
        path: vec![name],
        known: BTreeMap::new(),
    };
    let (_, own) = walk.go(job, &reached.scripts)?;
    let known = walk.known.into_iter();
    Ok(Revisions {
        own,
        of: known
            .map(|(name, (_, revision))| (name.to_owned(), revision))
            .collect(),
    })
}

struct Walk<'a> {
    jobs: &'a Jobs,
    kept: &'a Store,
    path: Vec<&'a str>,
    /// How deep each goes, and its revision.
    known: BTreeMap<&'a str, (usize, String)>,
}

impl<'a> Walk<'a> {
    fn go(&mut self, job: &'a JobSpec, scripts: &Scripts) -> Result<(usize, String), Refusal> {
        let mut deepest = 0;
        let mut called = BTreeMap::new();
        for step in job.all_steps() {
            if let Some(run) = &step.job {
                let (depth, revision) = self.enter(&step.name, &run.name)?;
                deepest = deepest.max(depth + 1);
                called.insert(&run.name, revision);
            }
        }
        if deepest >= DEEP {
            let message = format!(
                "spec.steps: {} and the Jobs that it runs go more than {DEEP} deep; let fewer of them run others",
                self.path.join(" -> ")
            );
            return Err(Refusal::new("JobsTooDeep", message));
        }
        let digests: BTreeMap<_, _> = scripts.iter().map(|(name, (_, d))| (name, d)).collect();
        let spec = JobSpec {
            requested_by: None,
            ..job.clone()
        };
        let mut held = serde_json::json!({"job": spec, "scripts": digests, "jobs": called});
        let kept: Vec<_> = kept::named(job)
            .filter_map(|from| Some((from, self.kept.get(from)?.value.digest())))
            .collect();
        // A job without any is what it was before there were Parameters.
        if !kept.is_empty() {
            held["parameters"] = serde_json::json!(kept);
        }
        let revision = format!("sha256:{}", hex::encode(Sha256::digest(held.to_string())));
        Ok((deepest, revision))
    }

    fn enter(&mut self, step: &str, name: &'a str) -> Result<(usize, String), Refusal> {
        if let Some(known) = self.known.get(name) {
            return Ok(known.clone());
        }
        if self.path.contains(&name) {
            let message = format!(
                "steps.{step}.job.name: {} -> {name}: a Job that runs itself never ends; have it run another",
                self.path.join(" -> ")
            );
            return Err(Refusal::new("JobRunsItself", message));
        }
        let Some(written) = self.jobs.get(name) else {
            let message = format!(
                "steps.{step}.job.name: there is no Job {name} in this namespace; create it or correct the name"
            );
            return Err(Refusal::new("JobNotFound", message));
        };
        self.path.push(name);
        let found = self.go(&written.job, &written.scripts)?;
        self.path.pop();
        self.known.insert(name, found.clone());
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use crds::v1alpha1::{DeclaredParameter, ParameterRef};

    use super::*;
    use crate::kept::{Held, Kept};

    fn calling(names: &[&str]) -> JobSpec {
        let pause = serde_json::json!({"name": "rest", "pause": {"duration": "1s"}});
        let call = |(i, name): (usize, &&str)| serde_json::json!({"name": format!("s{i}"), "job": {"name": name}});
        let steps = names.iter().enumerate().map(call).chain([pause]);
        serde_json::from_value(serde_json::json!({"steps": steps.collect::<Vec<_>>()}))
            .expect("a job")
    }

    fn jobs(all: &[(&str, &[&str])]) -> Jobs {
        let written = |(name, calls): &(&str, &[&str])| {
            let written = Written {
                job: calling(calls),
                scripts: Scripts::new(),
            };
            ((*name).to_owned(), written)
        };
        all.iter().map(written).collect()
    }

    fn of(name: &str, all: &Jobs) -> Result<Revisions, Refusal> {
        let reached = Contents {
            jobs: all.clone(),
            ..Contents::default()
        };
        revisions(name, &all[name].job, &reached)
    }

    #[test]
    fn each_job_is_read_once_and_no_more_than_may_be_run() {
        let all = jobs(&[
            ("a", &["b", "c", "b"]),
            ("b", &["c", "a"]),
            ("c", &["gone"]),
        ]);
        let mut unread = Unread::of(&all["a"].job);
        let mut read = Vec::new();
        while let Some(name) = unread.next() {
            all.get(&name)
                .into_iter()
                .for_each(|written| unread.read(&written.job));
            read.push(name);
        }
        read.sort();
        assert_eq!(read, ["a", "b", "c", "gone"]);
        let many: Vec<String> = (0..MANY * 2).map(|n| format!("job-{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(Unread::of(&calling(&many)).count(), MANY + 1);
    }

    #[test]
    fn a_job_that_leads_back_to_itself_names_the_way() {
        let all = jobs(&[("a", &["b"]), ("b", &["c", "d"]), ("c", &[]), ("d", &["b"])]);
        let refused = of("a", &all).expect_err("a circle");
        assert_eq!(refused.reason, "JobRunsItself");
        assert!(refused.message.contains("a -> b -> d -> b"), "{refused}");
        let own = jobs(&[("a", &["a"])]);
        assert_eq!(of("a", &own).expect_err("itself").reason, "JobRunsItself");
    }

    #[test]
    fn what_is_not_there_and_what_goes_too_deep_is_refused() {
        let all = jobs(&[("a", &["gone"])]);
        assert_eq!(of("a", &all).expect_err("gone").reason, "JobNotFound");
        let row: [(&str, &[&str]); 6] = [
            ("1", &["2"]),
            ("2", &["3"]),
            ("3", &["4"]),
            ("4", &["5"]),
            ("5", &["6"]),
            ("6", &[]),
        ];
        assert!(of("2", &jobs(&row)).is_ok());
        assert_eq!(of("1", &jobs(&row)).expect_err("six").reason, "JobsTooDeep");
    }

    #[test]
    fn many_ways_to_the_same_jobs_are_walked_once() {
        let wide: Vec<&str> = vec!["x"; 40];
        let all = jobs(&[
            ("a", &wide[..]),
            ("x", &["y"; 40]),
            ("y", &["z"; 40]),
            ("z", &[]),
        ]);
        assert_eq!(of("a", &all).expect("sound").of.len(), 3);
    }

    #[test]
    fn a_revision_changes_with_whatever_is_reached_and_not_with_who_wrote_it() {
        let all = jobs(&[("a", &["b"]), ("b", &["c"]), ("c", &[])]);
        let first = of("a", &all).expect("sound");
        let mut stamped = all.clone();
        stamped.get_mut("b").expect("b").job.requested_by =
            Some(crds::v1alpha1::Requester::default());
        assert_eq!(of("a", &stamped).expect("sound"), first);
        let changed = jobs(&[("a", &["b"]), ("b", &["c"]), ("c", &["d"]), ("d", &[])]);
        let second = of("a", &changed).expect("sound");
        assert_ne!((&first.own, &first.of["b"]), (&second.own, &second.of["b"]));
        let script: ScriptSpec = serde_json::from_str(r#"{"content": "true"}"#).expect("a script");
        let scripts = |digest: &str| [("s".to_owned(), (script.clone(), digest.to_owned()))].into();
        let own = |digest: &str| {
            let reached = Contents {
                scripts: scripts(digest),
                jobs: all.clone(),
                ..Contents::default()
            };
            revisions("a", &all["a"].job, &reached).expect("sound").own
        };
        assert_ne!(own("1"), own("2"));
    }

    #[test]
    fn a_revision_changes_with_the_value_of_a_parameter_and_not_with_its_version() {
        let from = ParameterRef {
            name: "p".into(),
            version: None,
        };
        let mut all = jobs(&[("a", &["b"]), ("b", &[])]);
        let inner = &mut all.get_mut("b").expect("b").job;
        inner.parameters.push(DeclaredParameter {
            name: "x".into(),
            from: Some(from.clone()),
            ..DeclaredParameter::default()
        });
        let own = |value: &str, version| {
            let kept = Kept {
                value: Held::Plain(value.into()),
                version: Some(version),
            };
            let reached = Contents {
                jobs: all.clone(),
                kept: [(from.clone(), kept)].into(),
                ..Contents::default()
            };
            revisions("a", &all["a"].job, &reached).expect("sound").own
        };
        assert_eq!(own("1", 1), own("1", 2));
        assert_ne!(own("1", 1), own("2", 1));
    }
}
