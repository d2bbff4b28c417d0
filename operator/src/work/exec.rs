//! A command in a running pod, as the run's account: at most once.

use crds::{execution::State, v1alpha1::ExecStep};
use reach::pod::{self, Command};

use super::{Outcome, Work};

/// Runs the command in the task's pod. Having been started by another operator, it was settled and never gets here.
pub async fn command(work: &Work, exec: &ExecStep) -> Outcome {
    let once = || async {
        match try_command(work, exec).await? {
            refused if refused.state == State::Undeliverable => Err(refused),
            begun => Ok(begun),
        }
    };
    match work.prepared(once).await {
        Ok(outcome) | Err(outcome) => outcome,
    }
}

async fn try_command(work: &Work, exec: &ExecStep) -> Result<Outcome, Outcome> {
    let (step, target) = (work.step(), work.target());
    let command = Command {
        namespace: work.run.namespace.clone(),
        pod: target.name.clone(),
        uid: target.uid.clone(),
        container: exec.container.clone(),
        argv: work.render_all("exec.command", &exec.command)?,
        delivery: step.delivery_timeout.get(),
        execution: step.timeout.get(),
    };
    let client = work.resolver()?.client;
    let (recorder, forwarding) = work.recording(&[])?;
    let outcome = pod::exec(&client, &command, recorder, &work.cancel).await;
    // The chunks go to records before the row that ends the execution.
    forwarding.await.expect("forwarding does not panic");
    Ok(outcome.into())
}
