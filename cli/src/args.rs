//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use crds::{
    names::DEFAULT_RUNNER,
    v1alpha1::{self, CommandSeverity, Duration, Selector},
};

use crate::{
    approve::Named, can_i_change::CanIChangeArgs, connection::Connection, output::Format,
    parameters::Given, selector,
};

/// Run, watch and explain operations work. Everything is done with your own rights.
#[derive(Debug, Parser)]
#[command(name = "kubectl-pilothouse", bin_name = "kubectl pilothouse", version, after_help = CODES)]
pub struct Args {
    #[command(flatten)]
    pub connection: Connection,
    /// Print the result for programs: json, yaml, wide or name
    #[arg(short, long, global = true, value_name = "FORMAT")]
    pub output: Option<Format>,
    #[command(subcommand)]
    pub command: Command,
}

const CODES: &str = "Exit codes: 0 succeeded or skipped, 1 failed, 2 cancelled, 3 refused, 4 this command could not be carried out; posture: 2 not everything could be looked at.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a Job
    Run(RunArgs),
    /// Run one command on hosts now, and print what each of them says
    Exec(ExecArgs),
    /// Watch a run until it ends
    Watch {
        /// Name of the JobRun
        run: String,
    },
    /// Print what a run's steps printed
    Logs(LogsArgs),
    /// Show targets, order, batches, scripts and values before anything happens, or those of a run
    Plan(PlanArgs),
    /// End what runs and start nothing more
    Cancel(ActionArgs),
    /// Start nothing more until the run is resumed
    Suspend(ActionArgs),
    /// Go on with a suspended run
    Resume(ResumeArgs),
    /// Try again what has failed in a run, and nothing else
    Retry(ActionArgs),
    /// Have a step count as done wherever it has not succeeded
    Skip(SkipArgs),
    /// Change how many executions of a run go on at once
    SetMaxParallel(SetMaxParallelArgs),
    /// Agree to a change, a solution or broken glass, let something be run that a CommandPolicy holds, as it is now, or a run go on at a step that waits for approval
    Approve(ApproveArgs),
    /// Send a change or a solution back, end broken glass, have something not be run that a CommandPolicy holds, as it is now, or a step fail that waits for approval
    Reject(ApproveArgs),
    /// Start, cancel or complete a change
    #[command(subcommand)]
    Ticket(TicketCommand),
    /// Get past policies of a namespace in an emergency, for a while; somebody else looks at it afterwards
    BreakGlass(BreakGlassArgs),
    /// Say what CommandPolicies make of a script, before it is applied
    Check(CheckArgs),
    /// Say what a run waits for or why it failed, or why something was refused, and what to do next
    Explain(ExplainArgs),
    /// Say whether you may change an object now, and if not, why and until when; exits 1 where not
    CanIChange(CanIChangeArgs),
    /// What Parameters said before, and how they differ from those of other clusters
    #[command(subcommand)]
    Parameter(ParameterCommand),
    /// Say whether a ChangeCalendar is open at a time, why, and what comes; exits 1 where it is closed
    Calendar(CalendarArgs),
    /// What was decided, by whom and by which rule
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Check the installation and your rights, and name what is missing
    Doctor(DoctorArgs),
    /// Say who can go around what Pilothouse guards, by which binding; exits 1 where it is bad, 2 where it could not be looked at
    Posture(PostureArgs),
    /// End what runs and take out of the cluster what would hold up a deletion, before helm uninstall
    Uninstall(UninstallArgs),
    /// Print the completion script of a shell
    Completion { shell: Shell },
}

#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Name of the Job
    pub job: String,
    #[command(flatten)]
    pub given: Given,
    /// ServiceAccount whose rights the run has
    #[arg(long, value_name = "ACCOUNT", default_value = DEFAULT_RUNNER)]
    pub service_account: String,
    /// Name of the run; otherwise one is made from the Job's
    #[arg(long)]
    pub name: Option<String>,
    /// ChangeTicket under which it is run; otherwise any that covers it
    #[arg(long, value_name = "NAME")]
    pub ticket: Option<String>,
    /// Watch the run until it ends, and exit by its outcome
    #[arg(short, long)]
    pub watch: bool,
}

#[derive(Debug, clap::Args)]
pub struct ExecArgs {
    /// What the interpreter on the host is given
    pub command: String,
    /// Hosts by labels, as in group=web,tier!=db
    #[arg(long, value_name = "SELECTOR", value_parser = selector::parse, required_unless_present = "host", conflicts_with = "host")]
    pub hosts: Option<Selector>,
    /// A host by name; may be given more than once
    #[arg(long, value_name = "NAME")]
    pub host: Vec<String>,
    /// What runs the command
    #[arg(long, value_enum, default_value_t = Interpreter::Shell)]
    pub interpreter: Interpreter,
    /// How long the command may take on a host
    #[arg(long, default_value = "1m")]
    pub timeout: Duration,
    /// How long a host may take to be reached
    #[arg(long, value_name = "TIMEOUT", default_value = "30s")]
    pub delivery_timeout: Duration,
    /// User on the host
    #[arg(long, value_name = "USER")]
    pub run_as: Option<String>,
    /// ChangeTicket under which it is run; otherwise any that covers it
    #[arg(long, value_name = "NAME")]
    pub ticket: Option<String>,
    /// ServiceAccount whose rights the run has
    #[arg(long, value_name = "ACCOUNT", default_value = DEFAULT_RUNNER)]
    pub service_account: String,
    /// Print what hosts say and exit by the outcome; with =false only create the run
    #[arg(long, action = clap::ArgAction::Set, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub watch: bool,
}

/// Programs that run a command on a host.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "lower")]
pub enum Interpreter {
    Shell,
    Bash,
    Python,
}

impl From<Interpreter> for v1alpha1::Interpreter {
    fn from(typed: Interpreter) -> Self {
        match typed {
            Interpreter::Shell => Self::Shell,
            Interpreter::Bash => Self::Bash,
            Interpreter::Python => Self::Python,
        }
    }
}

#[derive(Debug, clap::Args)]
pub struct LogsArgs {
    /// Name of the JobRun
    pub run: String,
    /// Only this target
    #[arg(long)]
    pub target: Option<String>,
    /// Only this step
    #[arg(long)]
    pub step: Option<String>,
    /// Go on until the run ends
    #[arg(short, long)]
    pub follow: bool,
    /// Leave out which step and target a line is of
    #[arg(long)]
    pub no_prefix: bool,
}

#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// A Job or a JobRun; job/NAME and run/NAME say which
    pub subject: String,
    #[command(flatten)]
    pub given: Given,
    /// ServiceAccount whose rights the run would have
    #[arg(long, value_name = "ACCOUNT", default_value = DEFAULT_RUNNER)]
    pub service_account: String,
}

#[derive(Debug, clap::Args)]
pub struct ActionArgs {
    /// Name of the JobRun
    pub run: String,
    /// Why, for those who read the timeline
    #[arg(long)]
    pub reason: Option<String>,
    /// Watch the run until it ends, and exit by its outcome
    #[arg(short, long)]
    pub watch: bool,
}

#[derive(Debug, clap::Args)]
pub struct ApproveArgs {
    /// What is decided on: script/NAME, job/NAME, run/NAME, ticket/NAME, solution/NAME or breakglass/NAME
    pub subject: Named,
    /// Why, for those who read it later; whoever rejects gives one
    #[arg(long)]
    pub reason: Option<String>,
    /// The step of the run that waits for it
    #[arg(long)]
    pub step: Option<String>,
    /// How long it counts for runs that have not begun; otherwise until the content changes
    #[arg(long, value_name = "DURATION")]
    pub expires: Option<Duration>,
}

#[derive(Debug, clap::Args)]
pub struct BreakGlassArgs {
    /// Why nobody can wait
    #[arg(long)]
    pub reason: String,
    /// What it is for: a number or an address of an incident, a ticket or a page
    #[arg(long)]
    pub incident: String,
    /// For how long, 4h at most
    #[arg(long = "for", value_name = "DURATION", default_value = "1h")]
    pub lasts: Duration,
    /// Only past this ProtectionPolicy or CommandPolicy; may be given more than once
    #[arg(long, value_name = "NAME")]
    pub policy: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum TicketCommand {
    /// Show how a change stands, how risky it is, and what it conflicts with
    Show {
        /// Name of the ChangeTicket
        ticket: String,
    },
    #[command(flatten)]
    Act(TicketAct),
}

/// What is done to a change, each a ChangeAction.
#[derive(Debug, Subcommand)]
pub enum TicketAct {
    /// Start a change that waits for one of its implementers, within its window
    Start(TicketArgs),
    /// End a change, and cancel its run where one goes on
    Cancel(TicketArgs),
    /// Say how a change went, which ends it: well, unless --failed is given
    Complete(CompleteArgs),
}

#[derive(Debug, clap::Args)]
pub struct TicketArgs {
    /// Name of the ChangeTicket
    pub ticket: String,
    /// Why, for those who read it later
    #[arg(long)]
    pub reason: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct CompleteArgs {
    /// Name of the ChangeTicket
    pub ticket: String,
    /// It failed, was taken back, or has caused an interruption; --note says more
    #[arg(long, requires = "note")]
    pub failed: bool,
    /// How it is known that it works
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        required_unless_present = "failed"
    )]
    pub verified: Option<Verified>,
    /// What was seen, or what went wrong and how it was taken back
    #[arg(long)]
    pub note: Option<String>,
}

/// How it is known that a change works.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Verified {
    /// Somebody has seen it within the window
    InWindow,
    /// Its run has ended well
    ByRun,
    /// That shows only later
    NotVerifiable,
}

impl From<Verified> for v1alpha1::Verified {
    fn from(typed: Verified) -> Self {
        match typed {
            Verified::InWindow => Self::InWindow,
            Verified::ByRun => Self::ByRun,
            Verified::NotVerifiable => Self::NotVerifiable,
        }
    }
}

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct ExplainArgs {
    /// Name of the JobRun
    #[arg(required = true)]
    pub run: Option<String>,
    #[command(subcommand)]
    pub about: Option<ExplainCommand>,
}

#[derive(Debug, Subcommand)]
pub enum ExplainCommand {
    /// Say who was refused what, by which rule and why, and what can be done now
    Denial {
        /// ID that the refusal named
        id: String,
    },
}

#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// File with the script; - is standard input
    pub file: PathBuf,
    /// What would run it
    #[arg(long, value_enum, default_value_t = Interpreter::Shell)]
    pub interpreter: Interpreter,
}

#[derive(Debug, clap::Args)]
pub struct ResumeArgs {
    #[command(flatten)]
    pub action: ActionArgs,
    /// Step to go on from: what it needs counts as done, and it is tried again where it failed
    #[arg(long, value_name = "STEP")]
    pub from: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct SkipArgs {
    #[command(flatten)]
    pub action: ActionArgs,
    /// Name of the step
    #[arg(long)]
    pub step: String,
}

#[derive(Debug, clap::Args)]
pub struct SetMaxParallelArgs {
    #[command(flatten)]
    pub action: ActionArgs,
    /// Executions at once, from 1 to 2000
    #[arg(value_parser = clap::value_parser!(i32).range(1..=2000))]
    pub max_parallel: i32,
}

#[derive(Debug, Subcommand)]
pub enum ParameterCommand {
    /// Show the versions of a Parameter: who wrote which value when
    History {
        /// Name of the Parameter
        name: String,
    },
    /// Print digests of Parameters, to be compared in another cluster
    Export(ExportArgs),
    /// Name what differs from exports, and exit 1 if anything does
    Compare(CompareArgs),
}

#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// Of every namespace
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
}

#[derive(Debug, clap::Args)]
pub struct CompareArgs {
    /// Files that export has printed in other clusters
    #[arg(required = true, value_name = "FILE")]
    pub exports: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct CalendarArgs {
    /// Name of the ChangeCalendar
    pub name: String,
    /// Another time than now: 2026-12-24T18:00 or 2026-12-24 in the calendar's zone, or 2026-12-24T10:00:00Z
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Verify that nothing of the audit is missing or was altered, and exit 1 where something is; needs to list it in the whole cluster
    Verify(VerifyArgs),
}

#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// File with checkpoints that were kept elsewhere, as kubectl get auditcheckpoints -o json printed them; their key is the one that is trusted
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Public key that is trusted, in hex; may be given more than once. Without one, and without a file, it is the one that the store shows
    #[arg(long, value_name = "KEY")]
    pub key: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// Namespace that Pilothouse is installed in
    #[arg(long, value_name = "NAMESPACE", default_value = "pilothouse-system")]
    pub system_namespace: String,
    /// ServiceAccount of runs that is looked at
    #[arg(long, value_name = "ACCOUNT", default_value = DEFAULT_RUNNER)]
    pub service_account: String,
}

#[derive(Debug, clap::Args)]
pub struct PostureArgs {
    /// Exit with 1 where something as bad as this is found, or worse
    #[arg(long, value_name = "SEVERITY", value_enum, ignore_case = true, default_value_t = Severity::High)]
    pub fail_on: Severity,
    /// Tell of each part of the cluster and of Pilothouse too, and count them
    #[arg(long)]
    pub all: bool,
    /// Namespace that Pilothouse is installed in
    #[arg(long, value_name = "NAMESPACE", default_value = "pilothouse-system")]
    pub system_namespace: String,
}

/// How bad something is, the least first.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

impl From<Severity> for CommandSeverity {
    fn from(typed: Severity) -> Self {
        match typed {
            Severity::Low => Self::Low,
            Severity::Medium => Self::Medium,
            Severity::High => Self::High,
            Severity::Critical => Self::Critical,
        }
    }
}

#[derive(Debug, clap::Args)]
pub struct UninstallArgs {
    /// Do it; otherwise it is only told what would be done
    #[arg(long)]
    pub yes: bool,
    /// Remove the kinds too, and with them every object of theirs
    #[arg(long)]
    pub crds: bool,
    /// How long cancelled runs, and then the operator, may take to end
    #[arg(long, default_value = "5m")]
    pub timeout: Duration,
    /// Go on although runs have not ended in time; what they have started on hosts goes on
    #[arg(long)]
    pub force: bool,
    /// Namespace that Pilothouse is installed in
    #[arg(long, value_name = "NAMESPACE", default_value = "pilothouse-system")]
    pub system_namespace: String,
}

#[cfg(test)]
mod tests {
    use super::{Args, Command};
    use clap::{CommandFactory as _, Parser as _};

    #[test]
    fn the_command_line_hangs_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_run_and_a_denial_are_explained_and_one_of_them_is_named() {
        let typed = |words: &[&str]| match Args::try_parse_from([&["k", "explain"], words].concat())
        {
            Ok(Args {
                command: Command::Explain(asked),
                ..
            }) => Some((asked.run, asked.about.is_some())),
            _ => None,
        };
        let run = Some("restart".to_owned());
        assert_eq!(typed(&["restart", "-n", "shop"]), Some((run, false)));
        assert_eq!(typed(&["denial", "a1-7", "-n", "shop"]), Some((None, true)));
        for wrong in [&[][..], &["denial"], &["restart", "denial", "a1-7"]] {
            assert_eq!(typed(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn exec_watches_unless_told_otherwise() {
        let watch = |more: &[&str]| {
            let typed = ["k", "exec", "true", "--host", "a", "--host", "b", "-n", "x"]
                .iter()
                .chain(more);
            match Args::try_parse_from(typed).expect("valid").command {
                Command::Exec(exec) => (exec.watch, exec.host.len()),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            (watch(&[]), watch(&["--watch=false"])),
            ((true, 2), (false, 2))
        );
        assert!(
            Args::try_parse_from(["k", "exec", "true"]).is_err(),
            "no hosts"
        );
    }
}
