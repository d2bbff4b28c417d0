//! The controllers of the leader: one a kind, each observe, decide, act, report.

mod action;
mod approval;
mod break_glass;
mod calendar;
mod change;
mod change_action;
mod command_policy;
mod driver;
mod ears;
mod host;
mod job;
mod parameter;
mod protection;
pub mod run;
mod schedule;
mod script;
mod solution;
mod start;
mod takeover;

use std::sync::Arc;

use crds::v1alpha1::{Approval, ChangeAction, RunAction};
use kube::{Config, core::DeserializeGuard, runtime::Controller};
use reach::Fence;

use driver::{EVERY_ONE, Turns, drive, policy};
use ears::{Heeded, own};

use crate::{
    args::Args,
    context::{Context, Given, Glass, Run, Solution, Ticket, Written},
    error::{Error, Result},
    held,
    metrics::Metrics,
    policies, pulse,
    users::Named,
    wakes::Woken,
};

/// Runs every controller until the process ends.
pub async fn run(
    args: Args,
    config: Config,
    metrics: Metrics,
    fence: Fence,
    epoch: i64,
) -> Result<()> {
    let (ctx, ears) = start::context(args, config, metrics, fence, epoch).await?;
    start::keep_off(&ctx).await?;
    start::patiently(async || takeover::claims(&ctx).await).await?;
    let woken = ears.woken;
    tokio::join!(
        work(&ctx, woken.runs, ears.actions, ears.approvals),
        definitions(&ctx, woken.script, woken.scripts, woken.parameters),
        rules(
            &ctx,
            ears.policies,
            ears.protections,
            woken.approvals,
            woken.glasses
        ),
        changes(&ctx, woken.tickets, woken.solutions, ears.change_actions),
        pulse::felt(&ctx),
    );
    Ok(())
}

/// What is done: runs, what people do to them, and what starts them.
async fn work(
    ctx: &Arc<Context>,
    mut woken: Woken<Run>,
    mut actions: Heeded<RunAction>,
    mut approvals: Heeded<Approval>,
) {
    let of_runs = Turns {
        at_once: EVERY_ONE,
        held: held::run,
        is_done: |ctx, run| run.0.as_ref().is_ok_and(|run| run::is_done(ctx, run)),
        told: |ctx, _, event| ctx.memory.latest.hear(event),
    };
    let of_tasks = Turns {
        at_once: EVERY_ONE,
        ..Turns::told_to_users()
    };
    let runs = |controller: Controller<_>, part: &str| {
        let all = ctx.clone();
        controller
            .watches_stream(own(&mut actions, part), run::of_action)
            .watches_stream(own(&mut approvals, part), move |approval| {
                run::of_approval(approval, &all)
            })
            .reconcile_on(own(&mut woken, part))
    };
    tokio::join!(
        drive(ctx, of_runs, run::reconcile, runs),
        drive(ctx, Turns::usual(), action::reconcile, |c, _| c),
        drive(ctx, of_tasks, schedule::reconcile, |tasks, part| {
            schedule::following(tasks, ctx, part)
        }),
    );
}

/// What work is made of.
async fn definitions(
    ctx: &Arc<Context>,
    mut script: Woken<Written>,
    mut scripts: Woken<()>,
    mut parameters: Woken<Named>,
) {
    let of_jobs = Turns::told_to_users();
    let scripts = |controller: Controller<_>, part: &str| {
        controller
            .reconcile_on(own(&mut script, part))
            .reconcile_all_on(own(&mut scripts, part))
    };
    let parameters = |controller, part: &str| {
        let woken = own(&mut parameters, part);
        parameter::following(controller, ctx, part).reconcile_on(woken)
    };
    tokio::join!(
        drive(ctx, Turns::usual(), script::reconcile, scripts),
        drive(ctx, of_jobs, job::reconcile, |jobs, part| {
            job::following(jobs, ctx, part)
        }),
        drive(ctx, Turns::usual(), parameter::reconcile, parameters),
        drive(ctx, Turns::usual(), host::reconcile, |c, _| c),
    );
}

/// What says whether and when it may be done.
async fn rules(
    ctx: &Arc<Context>,
    policies: Option<policies::News>,
    protections: Option<protection::News>,
    mut woken: Woken<Given>,
    mut broken: Woken<Glass>,
) {
    tokio::join!(
        command_policy::drive(ctx, policies),
        protection::drive(ctx, protections),
        drive(ctx, Turns::usual(), approval::reconcile, |given, part| {
            let woken = own(&mut woken, part);
            approval::following(given, ctx, part).reconcile_on(woken)
        }),
        drive(
            ctx,
            Turns::usual(),
            break_glass::reconcile,
            |glasses, part| { glasses.reconcile_on(own(&mut broken, part)) }
        ),
        drive(ctx, Turns::usual(), calendar::reconcile, |c, _| c),
    );
}

/// What is planned, agreed to and carried out in a window.
async fn changes(
    ctx: &Arc<Context>,
    mut woken: Woken<Ticket>,
    mut used: Woken<Solution>,
    mut actions: Heeded<ChangeAction>,
) {
    let tickets = |controller: Controller<_>, part: &str| {
        change::following(controller, ctx, part)
            .watches_stream(own(&mut actions, part), change::of_action)
            .reconcile_on(own(&mut woken, part))
    };
    let of_tickets = Turns {
        told: change::hear,
        ..Turns::usual()
    };
    tokio::join!(
        drive(ctx, of_tickets, change::reconcile, tickets),
        drive(ctx, Turns::usual(), solution::reconcile, |all, part| {
            solution::following(all, ctx, part).reconcile_on(own(&mut used, part))
        }),
        drive(ctx, Turns::usual(), change_action::reconcile, |c, _| c),
    );
}

/// The object, or why what is stored cannot be read.
pub(crate) fn valid<K>(guarded: &DeserializeGuard<K>) -> Result<&K> {
    guarded
        .0
        .as_ref()
        .map_err(|invalid| Error::Invalid(invalid.error.clone()))
}
