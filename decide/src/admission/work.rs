//! A Job that is written, a run, or a schedule of one: what a CommandPolicy will say when a run begins. All of it is let in.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use crds::v1alpha1::{
    CommandAction, JobRunSpec, JobSpec, ScheduledTaskSpec, ScriptSpec, Step, clip,
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{Request, Unreadable, WARNINGS};
use crate::{
    command::{At, Finding, Rulebook},
    gate,
};

/// Scripts that are looked at for one answer.
const SCRIPTS: usize = 20;
/// Bytes of commands that are judged for one answer, which has two seconds; when a run begins, all of them are.
const READ: usize = 256 << 10;
/// Bytes of a warning: all of them are told whole where they have 4 KiB together.
const LONG: usize = 800;

/// The runs that something written leads to.
#[derive(Clone, Debug)]
pub struct Work {
    /// Name of their Job; none of one that is written in the run.
    job: Option<String>,
    /// What they do, once that is known.
    does: Option<JobSpec>,
    /// Whether whoever asks has written what they do, and may read it.
    is_own: bool,
    /// Whether a schedule starts them, which no ticket covers.
    is_scheduled: bool,
}

/// The part of an object that matters.
#[derive(Deserialize)]
struct Written<T> {
    #[serde(default)]
    metadata: Metadata,
    spec: T,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    name: String,
}

impl Work {
    /// That of an object of a resource; nothing of another resource, or of one whose spec is as it was.
    pub fn read(resource: &str, request: &Request) -> Result<Option<Self>, Unreadable> {
        let work = |job, does: Option<JobSpec>| Self {
            job,
            is_own: does.is_some(),
            does,
            is_scheduled: resource == "scheduledtasks",
        };
        let of_job = |of: Written<JobSpec>| work(Some(of.metadata.name), Some(of.spec));
        let of_run = |of: Written<JobRunSpec>| {
            let job = of.spec.job_ref.map(|of| of.name);
            work(job, of.spec.job.map(|job| *job))
        };
        let of_task = |of: Written<ScheduledTaskSpec>| work(Some(of.spec.job_ref.name), None);
        match resource {
            "jobs" => changed(request, "Job").map(|of| of.map(of_job)),
            "jobruns" => changed(request, "JobRun").map(|of| of.map(of_run)),
            "scheduledtasks" => changed(request, "ScheduledTask").map(|of| of.map(of_task)),
            _ => Ok(None),
        }
    }

    /// The Job that they are of, where it is not known yet what that does.
    pub fn unknown(&self) -> Option<&str> {
        let job = self.job.as_deref();
        job.filter(|_| self.does.is_none())
    }

    /// Makes known what the Job does.
    pub fn becomes(&mut self, job: JobSpec) {
        self.does = Some(job);
    }

    /// The Scripts that are run, as many as are looked at.
    pub fn scripts(&self) -> BTreeSet<String> {
        let named = self.steps().filter_map(|(_, step)| step.script.as_ref());
        let named = named.map(|script| script.name.clone());
        // The first of them by their names, whatever the order of steps.
        let all: BTreeSet<_> = named.collect();
        all.into_iter().take(SCRIPTS).collect()
    }

    /// A warning of each finding, the strictest first, by what is known of Scripts.
    pub fn warnings(&self, scripts: &BTreeMap<String, ScriptSpec>, book: &Rulebook) -> Vec<String> {
        let mut left = READ;
        let fits = |(_, step): &(&'static str, &Step)| {
            let size = size(step, scripts);
            let rest = left.checked_sub(size);
            left = rest.unwrap_or(left);
            rest.is_some()
        };
        let of = |(list, step): (&'static str, _)| {
            let found = found(step, scripts, book).into_iter();
            found.map(move |finding| (list, step, finding))
        };
        let mut all: Vec<_> = self.steps().filter(fits).flat_map(of).collect();
        all.sort_by_key(|(.., finding)| Reverse(finding.effect));
        let told = all.iter().take(WARNINGS);
        told.map(|(list, step, finding)| self.warning(list, step, finding))
            .collect()
    }

    fn steps(&self) -> impl Iterator<Item = (&'static str, &Step)> {
        self.does.iter().flat_map(|does| {
            let steps = does.steps.iter().map(|step| ("steps", step));
            steps.chain(does.on_failure.iter().map(|step| ("onFailure", step)))
        })
    }

    fn warning(&self, list: &str, step: &Step, finding: &Finding) -> String {
        let At { line, column } = finding.at;
        let whose = step.script.as_ref();
        let told = if self.is_own && whose.is_none() {
            finding.told()
        } else {
            finding.told_apart()
        };
        let whose = whose.map(|script| format!(" (Script {})", script.name));
        let text = format!(
            "{list}.{}{} at {line}:{column}: {}{told}",
            step.name,
            whose.unwrap_or_default(),
            self.becoming(finding.effect)
        );
        clip(&text, LONG)
    }

    /// What becomes of a run, and the way on.
    fn becoming(&self, effect: CommandAction) -> String {
        match (effect, &self.job) {
            (CommandAction::Deny, _) => "no run begins with it: ".to_owned(),
            (CommandAction::RequireApproval, Some(job)) => format!(
                "runs wait until somebody else has approved it (kubectl pilothouse approve job/{job}): "
            ),
            (CommandAction::RequireApproval, None) => {
                "it waits until somebody else has approved it (kubectl pilothouse approve run/NAME): "
                    .to_owned()
            }
            (CommandAction::RequireTicket, Some(job)) if self.is_scheduled => format!(
                "no ChangeTicket covers what a schedule starts, so that its runs wait; make Job {job} the plan of one: "
            ),
            (CommandAction::RequireTicket, Some(job)) => format!(
                "runs wait for a live ChangeTicket (kubectl pilothouse run {job} --ticket NAME): "
            ),
            (CommandAction::RequireTicket, None) => {
                "it waits for a live ChangeTicket (spec.ticket names one): ".to_owned()
            }
            _ => String::new(),
        }
    }
}

/// Bytes of the commands of a step.
fn size(step: &Step, scripts: &BTreeMap<String, ScriptSpec>) -> usize {
    let inline = step.inline.iter().map(|inline| inline.content.len());
    let script = step.script.iter().filter_map(|of| scripts.get(&of.name));
    let exec = step.exec.iter().flat_map(|exec| &exec.command);
    let pod = step.pod.iter();
    let pod = pod.flat_map(|pod| pod.command.iter().chain(&pod.args));
    let words = exec.chain(pod).map(String::len);
    let script = script.map(|script| script.content.len());
    inline.chain(script).chain(words).sum()
}

/// What is told of a step.
fn found(step: &Step, scripts: &BTreeMap<String, ScriptSpec>, book: &Rulebook) -> Vec<Finding> {
    let script = step.script.as_ref();
    let script = script.and_then(|script| scripts.get(&script.name));
    let mut found = gate::of_step(step, script, std::slice::from_ref(book));
    found.retain(|finding| finding.effect >= CommandAction::Warn);
    found
}

fn changed<T>(request: &Request, kind: &'static str) -> Result<Option<Written<T>>, Unreadable>
where
    T: DeserializeOwned + PartialEq,
{
    let read = |text| serde_json::from_str::<Written<T>>(text).map_err(|e| Unreadable(kind, e));
    let now = read(request.object)?;
    let before = request.before.map(read).transpose()?;
    let is_as_it_was = before.is_some_and(|before| before.spec == now.spec);
    Ok(Some(now).filter(|_| !is_as_it_was))
}
