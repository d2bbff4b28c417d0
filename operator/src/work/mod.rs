//! Work on one task: a Started row first, then the effect under its key, then its end; whatever happens here, records know it before the run does.

mod exec;
mod file;
mod handed;
mod host;
mod http;
mod job;
mod lines;
mod look;
mod object;
mod outcome;
mod pod;
mod reboot;
pub mod target;
mod values;
mod wait;

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Arc, OnceLock},
    task::Poll,
    time::Duration,
};

use crds::{
    execution::{Execution, LogChunk, State, TargetKind, VERSION, Via},
    journal::KEEP_BYTES,
    key::EffectKey,
};
use decide::{
    outputs,
    plan::{Body, Plan, PlannedStep, PlannedTarget, Task},
    sign_off::Conclusion,
    template, trace,
};
use futures::poll;
use reach::pod::Recorder;
use secrecy::SecretString;
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

pub use outcome::Outcome;
pub use pod::let_go;

use crate::{context::Context, metrics::Ended, places::Place, resolve::Resolver};

/// The run that a task belongs to.
#[derive(Clone, Debug)]
pub struct RunFacts {
    pub name: String,
    pub namespace: String,
    pub namespace_uid: String,
    pub uid: String,
    /// UID of the cluster.
    pub cluster: String,
    pub plan: Arc<Plan>,
    /// Hash of the plan, 64 hexadecimal digits.
    pub hash: String,
    /// Where traces are told.
    pub place: Option<trace::Place>,
}

impl RunFacts {
    /// The run as templates name it.
    pub fn as_named(&self) -> template::Run<'_> {
        template::Run {
            name: &self.name,
            namespace: &self.namespace,
        }
    }

    pub fn key(&self, task: Task, attempt: i32) -> EffectKey {
        EffectKey {
            cluster: self.cluster.clone(),
            run: self.uid.clone(),
            plan: self.hash.clone(),
            step: self.plan.steps[task.step].name.clone(),
            target: self.plan.target(task).uid.clone(),
            attempt,
        }
    }

    /// The row of an attempt as it stands when it starts.
    pub fn row(&self, task: Task, attempt: i32, now: jiff::Timestamp) -> Execution {
        let (step, lane) = (&self.plan.steps[task.step], self.plan.lane(task.step));
        let target = self.plan.target(task);
        Execution {
            version: VERSION,
            key: self.key(task, attempt),
            namespace: self.namespace.clone(),
            namespace_uid: self.namespace_uid.clone(),
            run: self.name.clone(),
            job: Some(self.plan.job.clone()).filter(|job| !job.is_empty()),
            step: step.name.clone(),
            target_kind: lane.kind,
            target: target.name.clone(),
            attempt,
            state: State::Started,
            reason: None,
            message: None,
            exit_code: None,
            started_at: Some(now),
            finished_at: None,
            output_bytes: 0,
            dropped_bytes: 0,
            outputs: BTreeMap::new(),
            secret_uid: None,
            via: via(step, lane.kind, target),
        }
    }
}

fn via(step: &PlannedStep, kind: TargetKind, target: &PlannedTarget) -> Via {
    match (&step.body, kind) {
        (Body::Pod { .. }, _) => Via::Pod,
        (Body::Exec(_), _) => Via::Exec,
        (Body::Script(_) | Body::File { .. }, _) if target.plain => Via::Plain,
        (Body::Script(_) | Body::File { .. }, _) => Via::Journal,
        (Body::Action(_) | Body::Job { .. }, _) => Via::Api,
        (Body::Http { step, .. }, _) if !step.method.is_safe() => Via::Http,
        (Body::Http { .. } | Body::Wait(_) | Body::Pause(_) | Body::Approval(_), _) => Via::Probe,
    }
}

/// One attempt in hand.
pub struct Work {
    pub ctx: Arc<Context>,
    pub run: RunFacts,
    pub task: Task,
    pub row: Execution,
    pub cancel: CancellationToken,
    /// An earlier leader may have started it.
    pub joining: bool,
    /// What the steps before have handed on.
    pub outputs: BTreeMap<String, String>,
    /// The host as it was reached, which is where the journal is.
    reached: OnceLock<reach::ssh::Target>,
    /// The pod of the step's own.
    placed: OnceLock<reach::pod::Placed>,
}

/// Pieces of output on their way to records before their source is read more slowly.
const PIECES: usize = 64;
/// The variable in which a script or pod finds what stands before an output.
const OUTPUT: &str = "PILOTHOUSE_OUTPUT";
/// The variable in which it finds its place in a trace, by the convention of OpenTelemetry.
const TRACEPARENT: &str = "TRACEPARENT";
/// How long a lost target is sought beyond the time its work may take.
const SOUGHT: Duration = Duration::from_mins(2);
/// Rest between two tries of what comes before an effect.
const REST: Duration = Duration::from_millis(500);

impl Work {
    pub fn step(&self) -> &PlannedStep {
        &self.run.plan.steps[self.task.step]
    }

    pub fn target(&self) -> &PlannedTarget {
        self.run.plan.target(self.task)
    }

    /// Reads with the rights of the run's account.
    pub fn resolver(&self) -> crate::error::Result<Resolver> {
        let (run, accounts) = (&self.run, &self.ctx.accounts);
        accounts.resolver(&run.namespace, &run.plan.account)
    }
}

/// Starts an attempt, or joins it where it was started before. Does nothing when it is already in hand.
pub fn begin(ctx: &Arc<Context>, run: &RunFacts, task: Task, attempt: i32) {
    let fresh = run.row(task, attempt, jiff::Timestamp::now());
    let known = ctx.memory.ledgers.row(&run.uid, &fresh.key.digest());
    let joining = known.is_some();
    let Some(work) = take(ctx, run, task, known.unwrap_or(fresh), joining) else {
        return;
    };
    if run.plan.asks(task.step).is_some() {
        tokio::spawn(work.ask());
    } else {
        tokio::spawn(work.carry());
    }
}

/// Writes down an attempt that was cut off and cannot be joined.
pub fn settle(ctx: &Arc<Context>, run: &RunFacts, task: Task, attempt: i32) {
    close(ctx, run, task, attempt, Outcome::cut_off());
}

/// Writes down what people have decided.
pub fn conclude(ctx: &Arc<Context>, run: &RunFacts, conclusion: &Conclusion) {
    let Conclusion { task, attempt, .. } = *conclusion;
    let Conclusion {
        state,
        reason,
        message,
        ..
    } = conclusion;
    let outcome = Outcome::new(*state, *reason, message);
    close(ctx, run, task, attempt, outcome);
}

/// Ends an attempt that nobody here has in hand.
fn close(ctx: &Arc<Context>, run: &RunFacts, task: Task, attempt: i32, outcome: Outcome) {
    let digest = run.key(task, attempt).digest();
    let known = ctx.memory.ledgers.row(&run.uid, &digest);
    if let Some(work) = known.and_then(|row| take(ctx, run, task, row, true)) {
        tokio::spawn(async move { work.end(outcome).await });
    }
}

/// Takes an attempt in hand, unless it is already.
fn take(
    ctx: &Arc<Context>,
    run: &RunFacts,
    task: Task,
    row: Execution,
    joining: bool,
) -> Option<Work> {
    let cancel = ctx.memory.ledgers.begin(&run.uid, task, &row)?;
    Some(Work {
        ctx: ctx.clone(),
        run: run.clone(),
        task,
        row,
        cancel,
        joining,
        outputs: ctx.memory.ledgers.outputs(&run.uid, task),
        reached: OnceLock::new(),
        placed: OnceLock::new(),
    })
}

impl Work {
    async fn carry(self) {
        // A part takes places of its own, which this one could keep it from.
        let is_whole = matches!(self.step().body, Body::Job { .. });
        let place = if is_whole { None } else { self.place().await };
        self.ctx.let_in(&self.run.namespace);
        if place.is_none() && !self.joining && !is_whole {
            let outcome = Outcome::never_started();
            return self.end(outcome).await;
        }
        self.ctx.metrics.in_flight.inc();
        let outcome = if self.joining {
            self.effect().await.of_joined()
        } else {
            self.ctx.desk.row(self.row.clone()).await;
            self.effect().await
        };
        self.ctx.metrics.in_flight.dec();
        self.end(outcome).await;
    }

    /// Has people asked from here on: records know since when, and nothing is in hand until they have decided.
    async fn ask(self) {
        self.ctx.desk.row(self.row.clone()).await;
        self.ctx.memory.ledgers.put_down(&self.run.uid, self.task);
        self.ctx.wake(&self.run.namespace, &self.run.name);
    }

    /// A place among the work in hand; none when it was cancelled while it waited for one.
    async fn place(&self) -> Option<Place> {
        let run = &self.run;
        let mut place = pin!(self.ctx.hands.places.take(&run.namespace, &run.uid));
        if let Poll::Ready(place) = poll!(&mut place) {
            return Some(place);
        }
        // The run says that its work waits, and later that it does no more.
        self.ctx.wake(&run.namespace, &run.name);
        let place = tokio::select! {
            place = place => Some(place),
            () = self.cancel.cancelled() => None,
        };
        self.ctx.wake(&run.namespace, &run.name);
        place
    }

    /// How long the target is sought: until delivery has timed out, or as long as something that was started may be running there.
    fn window(&self) -> Duration {
        if self.joining {
            self.reattach()
        } else {
            self.step().delivery_timeout.get()
        }
    }

    fn reattach(&self) -> Duration {
        self.step().timeout.get() + SOUGHT
    }

    /// Tries what comes before the effect until it works or its time is over. What may have been started already is sought whatever stands in the way.
    async fn prepared<T, F>(&self, prepare: impl Fn() -> F) -> Result<T, Outcome>
    where
        F: Future<Output = Result<T, Outcome>>,
    {
        let began = Instant::now();
        let deadline = began + self.window();
        loop {
            if !self.joining && self.cancel.is_cancelled() {
                return Err(Outcome::never_started());
            }
            match prepare().await {
                Err(outcome)
                    if (self.joining || outcome.is_passing(began.elapsed()))
                        && !self.cancel.is_cancelled()
                        && Instant::now() < deadline =>
                {
                    tokio::time::sleep(REST).await;
                }
                done => return done,
            }
        }
    }

    async fn effect(&self) -> Outcome {
        if let Err(outcome) = self.admitted() {
            return outcome;
        }
        match &self.step().body {
            Body::Script(script) if script.reboots => reboot::machine(self, script).await,
            Body::Script(script) => host::script(self, script).await,
            Body::File { step, source } => {
                let ready = || file::ready(self, step, source.as_ref());
                host::carried(self, ready).await.0
            }
            Body::Exec(exec) => exec::command(self, exec).await,
            Body::Pod { step, env } => pod::step(self, step, env).await,
            Body::Http { step, headers } => http::request(self, step, headers).await,
            Body::Wait(step) => wait::until(self, step).await,
            Body::Pause(step) => wait::pause(self, step).await,
            Body::Approval(_) => unreachable!("people are asked, and nobody works on it"),
            Body::Action(action) => object::operation(self, action).await,
            Body::Job {
                name,
                revision,
                parameters,
            } => job::run(self, name, revision, parameters).await,
        }
    }

    /// The end is on disk at records before the source is told to let go of it.
    async fn end(&self, outcome: Outcome) {
        let row = outcome.into_row(self.row.clone(), jiff::Timestamp::now());
        self.ctx
            .metrics
            .executions
            .get_or_create(&Ended {
                via: row.via.as_str(),
                state: row.state.as_str(),
            })
            .inc();
        self.ctx.desk.row(row.clone()).await;
        let is_pod = row.via == Via::Pod;
        if is_pod && !pod::release(self, &row).await {
            self.ctx.memory.ledgers.leave_pods(&self.run.uid);
        }
        self.ctx.memory.ledgers.end(&self.run.uid, self.task, row);
        self.ctx.wake(&self.run.namespace, &self.run.name);
        if self.row.via == Via::Journal {
            // A host that does not hear it sweeps by age.
            host::forget(self).await;
        }
    }

    /// Takes output, masks and bounds it, and hands it to records; what it hands on is there when the recorder has finished.
    fn recording(
        &self,
        mask: &[SecretString],
    ) -> Result<(Recorder, JoinHandle<BTreeMap<String, String>>), Outcome> {
        let (sink, pieces) = mpsc::channel(PIECES);
        let keep = usize::try_from(KEEP_BYTES).unwrap_or(usize::MAX);
        let recorder = Recorder::new(mask, keep, 0, sink)?;
        Ok((recorder, self.forwarding(pieces)))
    }

    /// Hands pieces of output to records until their sender is gone; then there is what the output hands on.
    fn forwarding(
        &self,
        mut pieces: mpsc::Receiver<impl Chunk>,
    ) -> JoinHandle<BTreeMap<String, String>> {
        let (desk, key) = (self.ctx.desk.clone(), self.row.key.clone());
        let namespace = self.run.namespace.clone();
        let mut reader = outputs::Reader::new(self.mark());
        let mut veil = outputs::Veil::new(&self.mark(), &self.veiled());
        tokio::spawn(async move {
            while let Some(piece) = pieces.recv().await {
                if let Some((offset, mut data)) = piece.chunk() {
                    reader.read(&data);
                    veil.cover(&mut data);
                    let key = key.clone();
                    desk.log(&namespace, LogChunk { key, offset, data }).await;
                }
            }
            reader.finish()
        })
    }

    /// What stands before an output of this attempt.
    fn mark(&self) -> String {
        outputs::mark(&self.row.key.digest())
    }

    /// The place of the execution in its trace, as scripts, pods and requests hand it on.
    fn traceparent(&self) -> Option<String> {
        let place = self.run.place.as_ref()?;
        Some(place.traceparent(&self.row.key.digest()))
    }

    /// The environment that tells a script or pod how to hand something on.
    fn marked(&self) -> Option<(String, String)> {
        let step = self.step();
        let reboots = matches!(&step.body, Body::Script(script) if script.reboots);
        (reboots || !step.outputs.is_empty()).then(|| (OUTPUT.to_owned(), self.mark()))
    }
}

/// What comes from a target while it is worked on.
trait Chunk: Send + 'static {
    /// Offset and bytes, where it is output.
    fn chunk(self) -> Option<(u64, Vec<u8>)>;
}

impl Chunk for reach::pod::Piece {
    fn chunk(self) -> Option<(u64, Vec<u8>)> {
        Some((self.offset, self.data.to_vec()))
    }
}

impl Chunk for reach::host::Progress {
    fn chunk(self) -> Option<(u64, Vec<u8>)> {
        match self {
            Self::Output(output) => Some((output.offset, output.data)),
            Self::Started(_) => None,
        }
    }
}
