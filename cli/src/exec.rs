//! One command on hosts, now: a JobRun with its job written in place, so it has the plan, rights, bounds and records of any run.

use crds::v1alpha1::{
    InlineStep, JobRun, JobRunSpec, JobSpec, ObjectTargets, Requester, Share, Sharing, Step,
    Strategy, Targets,
};
use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::{
    args::ExecArgs,
    caller,
    choice::{Choice, Mark},
    cluster::Cluster,
    error::Result,
    follow,
    outcome::Outcome,
    output::Format,
    progress, run, terminal, watch,
};

/// Name of the only step.
const STEP: &str = "exec";

pub async fn exec(cluster: &Cluster, asked: &ExecArgs, format: Option<Format>) -> Result<u8> {
    let wanted = wanted(asked, caller::requester(cluster).await?);
    let created = run::create(cluster, &wanted).await?;
    if !asked.watch {
        return run::created(cluster, &created, format).map(|()| 0);
    }
    if !Format::is_for_people(format) {
        return watch::watch(cluster, &created.name_any(), format).await;
    }
    eprintln!("jobrun.pilothouse.dev/{}", created.name_any());
    let ended = follow::follow(
        cluster,
        &created,
        &Choice {
            mark: Mark::Target,
            ..Choice::default()
        },
    )
    .await?;
    // Output is the hosts'; what the plugin says of the run goes beside it.
    eprint!(
        "{}",
        terminal::clean(&progress::frame(&ended, Timestamp::now()))
    );
    Ok(code(&ended))
}

/// Every host is tried whatever happens on others, so the run succeeds while some of them did; the caller is told of any that failed.
fn code(ended: &JobRun) -> u8 {
    let failed = ended
        .status
        .as_ref()
        .and_then(|s| s.targets.as_ref())
        .is_some_and(|t| t.failed > 0);
    match Outcome::of(ended) {
        Some(Outcome::Complete) if failed => Outcome::Failed.code(),
        outcome => outcome.map_or(0, Outcome::code),
    }
}

/// The run as it is asked for, whose name the API server makes.
fn wanted(asked: &ExecArgs, by: Requester) -> JobRun {
    let spec = JobRunSpec {
        job: Some(Box::new(job(asked))),
        ticket: asked.ticket.clone(),
        requested_by: Some(by),
        ..JobRunSpec::new(&asked.service_account)
    };
    let mut wanted = JobRun::new("", spec);
    wanted.metadata.name = None;
    wanted.metadata.generate_name = Some(format!("{STEP}-"));
    wanted
}

fn job(asked: &ExecArgs) -> JobSpec {
    let hosts = ObjectTargets {
        names: asked.host.clone(),
        selector: asked.hosts.clone(),
    };
    JobSpec {
        description: None,
        parameters: Vec::new(),
        targets: Some(Targets {
            hosts: Some(hosts),
            ..Targets::default()
        }),
        strategy: Strategy {
            max_failures: Share::Percent(100),
            ..Strategy::default()
        },
        sharing: Sharing::Shared,
        steps: vec![step(asked)],
        on_failure: Vec::new(),
        requested_by: None,
    }
}

fn step(asked: &ExecArgs) -> Step {
    Step {
        inline: Some(InlineStep {
            interpreter: asked.interpreter.into(),
            content: asked.command.clone(),
            env: [].into(),
        }),
        run_as: asked.run_as.clone(),
        timeout: asked.timeout,
        delivery_timeout: asked.delivery_timeout,
        ..Step::new(STEP)
    }
}

#[cfg(test)]
mod tests {
    use super::{code, job, wanted};
    use crate::{args, args::Command, outcome::tests::run};
    use clap::Parser as _;
    use crds::v1alpha1::{Requester, TargetCounts};
    use decide::calls::Contents;

    fn asked(typed: &[&str]) -> args::ExecArgs {
        let typed = ["k", "exec", "uptime"].iter().chain(typed);
        match args::Args::try_parse_from(typed).expect("valid").command {
            Command::Exec(asked) => asked,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_command_becomes_a_job_that_can_be_planned() {
        let job = job(&asked(&["--hosts", "group=web", "--timeout", "90s"]));
        assert_eq!(
            decide::freeze::check("", &job, &Contents::default(), &decide::Limits::default())
                .map(drop),
            Ok(())
        );
        let json = serde_json::to_value(&job).expect("json");
        assert_eq!(
            json["targets"]["hosts"]["selector"]["matchLabels"]["group"],
            "web"
        );
        assert_eq!(
            (
                json["steps"][0]["timeout"].as_str(),
                json["sharing"].as_str()
            ),
            (Some("1m30s"), Some("Shared"))
        );
    }

    #[test]
    fn a_command_names_the_ticket_under_which_it_is_run() {
        let of = |typed: &[&str]| wanted(&asked(typed), Requester::default()).spec.ticket;
        let named = of(&["--host", "h", "--ticket", "move"]);
        assert_eq!(named.as_deref(), Some("move"));
        assert_eq!(of(&["--host", "h"]), None);
    }

    #[test]
    fn a_host_that_failed_is_told_even_where_the_run_succeeded() {
        let mut ended = run(&["Planned=True/Frozen", "Complete=True/Succeeded"]);
        assert_eq!(code(&ended), 0);
        ended.status.as_mut().expect("given").targets = Some(TargetCounts {
            total: 2,
            succeeded: 1,
            failed: 1,
        });
        assert_eq!(code(&ended), 1);
    }
}
