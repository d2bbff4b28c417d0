//! kubectl-pilothouse: runs, watches and explains work with the caller's own rights. It holds none itself.

mod access;
mod action;
mod again;
mod age;
mod approve;
mod archives;
mod args;
mod audit;
mod break_glass;
mod calendar;
mod caller;
mod can_i_change;
mod check;
mod choice;
mod cluster;
mod commands;
mod connection;
mod denial;
mod doctor;
mod error;
mod exec;
mod executions;
mod explain;
mod follow;
mod kept;
mod known;
mod lines;
mod logs;
mod lookup;
mod object;
mod outcome;
mod output;
mod parameter;
mod parameters;
mod plan;
mod posture;
mod progress;
mod run;
mod scope;
mod selector;
mod shown;
mod story;
mod table;
mod terminal;
mod ticket;
mod trial;
mod uninstall;
mod watch;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use crds::v1alpha1::{Action, Decision};

use action::Wanted;
use args::{ActionArgs, ApproveArgs, Args, Command, ExplainCommand};
use cluster::Cluster;
use error::{Error, Result};

/// What the shell is told when everything went well.
const DONE: u8 = 0;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(usage) => return misused(&usage),
    };
    match carry_out(args) {
        Ok(code) => ExitCode::from(code),
        // The reader went away, as `head` does; that is its right.
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", terminal::clean(&error::report(&error)));
            ExitCode::from(error.code())
        }
    }
}

/// Help and version are answers; anything else is a mistake of the caller, told apart from how a run ended.
fn misused(usage: &clap::Error) -> ExitCode {
    let told = usage.print();
    if usage.use_stderr() || told.is_err() {
        return ExitCode::from(error::NOT_DONE);
    }
    ExitCode::SUCCESS
}

fn carry_out(args: Args) -> Result<u8> {
    if let Command::Completion { shell } = args.command {
        let mut script = Vec::new();
        clap_complete::generate(
            shell,
            &mut Args::command(),
            "kubectl-pilothouse",
            &mut script,
        );
        return output::bytes(&script).map(|()| DONE);
    }
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("nothing else installs a provider");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    runtime.block_on(dispatch(args))
}

async fn dispatch(args: Args) -> Result<u8> {
    let cluster = Cluster::connect(&args.connection).await?;
    let format = args.output;
    let act = async |wanted, asked: ActionArgs| action::act(&cluster, wanted, &asked, format).await;
    let decide = async |asked: ApproveArgs, decision| {
        approve::approve(&cluster, &asked, decision, format).await
    };
    match args.command {
        Command::Run(asked) => run::run(&cluster, &asked, format).await,
        Command::Exec(asked) => exec::exec(&cluster, &asked, format).await,
        Command::Watch { run } => watch::watch(&cluster, &run, format).await,
        Command::Logs(asked) => logs::logs(&cluster, &asked).await,
        Command::Plan(asked) => plan::plan(&cluster, &asked, format).await,
        Command::Cancel(asked) => act(Wanted::just(Action::Cancel), asked).await,
        Command::Suspend(asked) => act(Wanted::just(Action::Suspend), asked).await,
        Command::Resume(asked) => act(Wanted::resume(asked.from), asked.action).await,
        Command::Retry(asked) => act(Wanted::just(Action::RetryFailed), asked).await,
        Command::Skip(asked) => act(Wanted::skip(asked.step), asked.action).await,
        Command::SetMaxParallel(asked) => {
            act(Wanted::parallel(asked.max_parallel), asked.action).await
        }
        Command::Approve(asked) => decide(asked, Decision::Approve).await,
        Command::Reject(asked) => decide(asked, Decision::Reject).await,
        Command::Ticket(asked) => ticket::ticket(&cluster, &asked, format).await,
        Command::BreakGlass(asked) => break_glass::break_glass(&cluster, &asked, format).await,
        Command::Check(asked) => check::check(&cluster, &asked, format).await,
        Command::Explain(asked) => match (asked.about, asked.run) {
            (Some(ExplainCommand::Denial { id }), _) => {
                denial::explain(&cluster, &id, format).await
            }
            (None, run) => explain::explain(&cluster, &run.unwrap_or_default(), format).await,
        },
        Command::CanIChange(asked) => can_i_change::answer(&cluster, &asked, format).await,
        Command::Parameter(asked) => parameter::parameter(&cluster, &asked, format).await,
        Command::Calendar(asked) => calendar::calendar(&cluster, &asked, format).await,
        Command::Posture(asked) => {
            let only = args.connection.namespace.as_deref();
            posture::posture(&cluster, &asked, only, format).await
        }
        Command::Audit(asked) => audit::audit(&cluster, &asked, format).await,
        Command::Doctor(asked) => doctor::doctor(&cluster, &asked, format).await,
        Command::Uninstall(asked) => uninstall::uninstall(&cluster, &asked).await,
        Command::Completion { .. } => Ok(DONE),
    }
}
