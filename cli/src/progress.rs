//! A run on its way: a table for a terminal, one line a change for everything else.

use crds::v1alpha1::{JobRun, JobRunStatus, StepStatus};
use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::{age, table::table};

/// The run as a table: what it is, its steps with counts, who failed, what it waits for.
pub fn frame(run: &JobRun, now: Timestamp) -> String {
    let status = run.status.clone().unwrap_or_default();
    let mut out = format!("{}\n", headline(run, &status, now));
    if !status.steps.is_empty() {
        let rows: Vec<_> = status.steps.iter().map(cells).collect();
        out.push_str(&table(
            &[
                "STEP",
                "PENDING",
                "RUNNING",
                "SUCCEEDED",
                "FAILED",
                "SKIPPED",
            ],
            &rows,
        ));
    }
    for step in status.steps.iter().filter(|s| s.failed > 0) {
        out.push_str(&format!("failed in {}: {}\n", step.name, failed(step)));
    }
    for told in status
        .message
        .iter()
        .filter(|m| !m.is_empty())
        .chain(&status.notes)
    {
        out.push_str(&format!("{told}\n"));
    }
    out
}

/// The run in one line, without the time, so that lines differ only when something has changed.
pub fn line(run: &JobRun) -> String {
    let status = run.status.clone().unwrap_or_default();
    let steps = status.steps.iter().map(|s| {
        let counts = [
            (s.running, "running"),
            (s.succeeded, "succeeded"),
            (s.failed, "failed"),
            (s.skipped, "skipped"),
        ];
        let counts: Vec<_> = counts
            .iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, what)| format!("{n} {what}"))
            .collect();
        (s, counts.join(" "))
    });
    let mut parts = vec![standing(&status)];
    parts.extend(
        steps
            .filter(|(_, counts)| !counts.is_empty())
            .map(|(s, counts)| format!("{}: {counts}", s.name)),
    );
    parts.extend(status.message.filter(|m| !m.is_empty()));
    parts.join("; ")
}

fn headline(run: &JobRun, status: &JobRunStatus, now: Timestamp) -> String {
    let job = run.spec.job_ref.as_ref().map_or_else(
        || "a job of its own".to_owned(),
        |job| format!("job {}", job.name),
    );
    let end = status.finished_at.as_ref().map_or(now, |at| at.0);
    let begun = status.started_at.as_ref().map(|at| &at.0).or(run
        .metadata
        .creation_timestamp
        .as_ref()
        .map(|at| &at.0));
    let time = begun
        .map(|&at| format!("   {}", age::between(at, end)))
        .unwrap_or_default();
    format!("{}   {job}   {}{time}", run.name_any(), standing(status))
}

/// Summary and progress; a run that nobody has seen yet is new.
fn standing(status: &JobRunStatus) -> String {
    let summary = status.summary.as_deref().unwrap_or("New");
    status.progress.as_ref().map_or_else(
        || summary.to_owned(),
        |progress| format!("{summary} {progress}"),
    )
}

fn cells(step: &StepStatus) -> Vec<String> {
    let counts = [
        step.pending,
        step.running,
        step.succeeded,
        step.failed,
        step.skipped,
    ];
    std::iter::once(step.name.clone())
        .chain(counts.iter().map(ToString::to_string))
        .collect()
}

/// Names of failed targets, and how many more there are than status names.
pub fn failed(step: &StepStatus) -> String {
    let named = step.failed_targets.join(", ");
    let more = usize::try_from(step.failed)
        .unwrap_or(0)
        .saturating_sub(step.failed_targets.len());
    match (named.is_empty(), more) {
        (_, 0) => named,
        (true, more) => format!("{more} targets"),
        (false, more) => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::run;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn moving() -> JobRun {
        let mut run = run(&["Planned=True/Frozen"]);
        let status = run.status.as_mut().expect("given");
        status.summary = Some("Running".into());
        status.progress = Some("1/14".into());
        status.message = Some("the next batch starts soon".into());
        status.started_at = Some(Time("2026-01-01T00:00:10Z".parse().expect("a time")));
        status.steps = vec![
            StepStatus {
                name: "hosts".into(),
                running: 1,
                succeeded: 1,
                failed: 12,
                failed_targets: vec!["vm1".into(), "vm2".into()],
                ..StepStatus::default()
            },
            StepStatus {
                name: "pods".into(),
                pending: 3,
                ..StepStatus::default()
            },
        ];
        run
    }

    #[test]
    fn a_frame_shows_counts_failures_and_what_is_waited_for() {
        let now = "2026-01-01T00:00:17Z".parse().expect("a time");
        let wanted = "\
r   job j   Running 1/14   7s
STEP    PENDING   RUNNING   SUCCEEDED   FAILED   SKIPPED
hosts   0         1         1           12       0
pods    3         0         0           0        0
failed in hosts: vm1, vm2 and 10 more
the next batch starts soon
";
        assert_eq!(frame(&moving(), now), wanted);
    }

    #[test]
    fn a_line_says_the_same_without_zeros() {
        assert_eq!(
            line(&moving()),
            "Running 1/14; hosts: 1 running 1 succeeded 12 failed; the next batch starts soon"
        );
        assert_eq!(
            line(&JobRun {
                status: None,
                ..moving()
            }),
            "New"
        );
    }
}
