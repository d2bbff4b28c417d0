//! What controllers share: clients, what is held in memory, and the way to wake a run.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crds::v1alpha1::{
    Approval, BreakGlass, ChangeAction, ChangeCalendar, ChangeSolution, ChangeTicket, JobRun,
    ProtectionPolicy, Requester, RunAction, Script,
};
use decide::{Limits, lock::Claim};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Resource, ResourceExt as _, core::DeserializeGuard, runtime::reflector::ObjectRef,
};
use reach::{http::Outbound, ssh::Fleet};
use serving::Events;
use tokio::sync::{Semaphore, broadcast, mpsc};

use crate::{
    account::Accounts,
    audit::Audit,
    awaiting::Awaiting,
    bookings::Bookings,
    bursts::Bursts,
    claims::Claims,
    crowds::Crowds,
    desk::Desk,
    doors::Doors,
    entitled::Rights,
    error::{Error, Result},
    heard::{Heard, Known},
    latest::Latest,
    ledgers::Ledgers,
    metrics::Metrics,
    places::Places,
    policies::Policies,
    precedence::Precedence,
    reached::Definitions,
    scales::Scales,
    scope::{EVERY, Scope},
    sweeps::Sweeps,
    traces::Traces,
    turns::Turns,
    users::Users,
};

/// A run by its name.
pub type Run = ObjectRef<DeserializeGuard<JobRun>>;

/// ChangeCalendars by namespace and name: many tasks that refer to one are due together, and many policies flip with one.
pub type Calendars = Bursts<[String; 2], Result<Option<Arc<ChangeCalendar>>, Arc<kube::Error>>>;

/// A Script by its name.
pub type Written = ObjectRef<DeserializeGuard<Script>>;

/// An Approval by its name.
pub type Given = ObjectRef<DeserializeGuard<Approval>>;
/// A ChangeTicket by its name.
pub type Ticket = ObjectRef<DeserializeGuard<ChangeTicket>>;
/// A ChangeSolution by its name.
pub type Solution = ObjectRef<DeserializeGuard<ChangeSolution>>;
/// A BreakGlass by its name.
pub type Glass = ObjectRef<DeserializeGuard<BreakGlass>>;

/// Shared by every controller of the leader.
pub struct Context {
    pub client: Client,
    /// For what does not give way: firings, and reads that are shared by many.
    pub prompt: Client,
    pub precedence: Precedence,
    pub accounts: Accounts,
    /// What people have said about runs and what these hold, and the runs that wait for that.
    pub actions: Heard<RunAction>,
    pub approvals: Heard<Approval>,
    pub change_actions: Heard<ChangeAction>,
    pub bookings: Bookings,
    /// Where there can be any.
    pub protections: Option<Known<ProtectionPolicy>>,
    pub scales: Scales,
    pub awaiting: Awaiting,
    pub policies: Policies,
    pub doors: Doors,
    pub definitions: Definitions,
    pub calendars: Calendars,
    pub rights: Rights,
    pub records: records::client::Client,
    pub desk: Desk,
    pub audit: Audit,
    pub ledgers: Ledgers,
    pub claims: Claims,
    pub fleet: Fleet,
    pub outbound: Outbound,
    pub toolkit: Arc<reach::host::Toolkit>,
    pub limits: Limits,
    /// How long runs and tickets stay after their end that do not say so themselves.
    pub archive_after: Option<crds::v1alpha1::Duration>,
    /// Who the operator is to the API server.
    pub me: Requester,
    /// Who names which Parameter.
    pub users: Users,
    /// Where anything is looked for.
    pub scope: Scope,
    /// UID of the cluster, which plans are frozen with.
    pub cluster: String,
    /// Epoch of this leader; hosts refuse a lower one.
    pub epoch: i64,
    pub events: Events,
    pub metrics: Metrics,
    pub places: Places,
    pub crowds: Crowds,
    /// Looks at hosts under way; who gets no place asks again later.
    pub looks: Places,
    /// The controller of runs of each part of the scope.
    pub wake: HashMap<String, mpsc::UnboundedSender<Run>>,
    /// That of Scripts: one of them, or each.
    pub wake_script: HashMap<String, mpsc::UnboundedSender<Written>>,
    pub wake_scripts: HashMap<String, mpsc::UnboundedSender<()>>,
    /// That of Approvals.
    pub wake_approval: HashMap<String, mpsc::UnboundedSender<Given>>,
    pub wake_ticket: HashMap<String, mpsc::UnboundedSender<Ticket>>,
    pub wake_solution: HashMap<String, mpsc::UnboundedSender<Solution>>,
    pub wake_glass: HashMap<String, mpsc::UnboundedSender<Glass>>,
    /// UIDs of runs that have ended, for those who wait for one.
    pub ended: broadcast::Sender<String>,
    pub failures: Failures,
    pub latest: Latest,
    pub traces: Traces,
    pub turns: Turns,
    pub sweeps: Sweeps,
    pub reported: Mutex<HashMap<String, Instant>>,
    /// Runs of ScheduledTasks that are created together, and statuses that are written together.
    pub starting: Semaphore,
    pub settling: Semaphore,
    /// UIDs of namespaces by run, since a namespace of the same name may be another one tomorrow.
    pub namespaces: Mutex<HashMap<String, String>>,
    pub namespace_uids: Bursts<String, Result<String, Arc<kube::Error>>>,
    /// A leader that was replaced has ended after this time.
    pub lease: Duration,
}

/// Where the toolkit is read from.
pub fn toolkit(path: &PathBuf) -> Result<Arc<reach::host::Toolkit>> {
    let bytes = std::fs::read(path).map_err(|source| crate::error::Error::Toolkit {
        path: path.display().to_string(),
        source,
    })?;
    Ok(Arc::new(reach::host::Toolkit::new(bytes)))
}

/// Wakes an object in its part of the scope. Its controller is gone only when the operator ends.
fn send<K>(
    wakes: &HashMap<String, mpsc::UnboundedSender<ObjectRef<K>>>,
    namespace: &str,
    name: &str,
) where
    K: Resource<DynamicType = ()>,
{
    let wake = wakes.get(namespace).or_else(|| wakes.get(EVERY));
    let _ = wake.map(|wake| wake.send(ObjectRef::new(name).within(namespace)));
}

impl Context {
    /// Has the run looked at soon.
    pub fn wake(&self, namespace: &str, name: &str) {
        send(&self.wake, namespace, name);
    }

    /// Has the Script looked at that a decision is about.
    pub fn wake_script(&self, namespace: &str, name: &str) {
        send(&self.wake_script, namespace, name);
    }

    /// Has the Approval looked at whose run has come to what it is about.
    pub fn wake_approval(&self, namespace: &str, name: &str) {
        send(&self.wake_approval, namespace, name);
    }

    /// Has the ticket looked at that a decision is about, or whose run has ended.
    pub fn wake_ticket(&self, namespace: &str, name: &str) {
        send(&self.wake_ticket, namespace, name);
    }

    /// Has the solution looked at that a decision is about, or that a ticket has ended with.
    pub fn wake_solution(&self, namespace: &str, name: &str) {
        send(&self.wake_solution, namespace, name);
    }

    /// Has the BreakGlass looked at that a decision is about.
    pub fn wake_glass(&self, namespace: &str, name: &str) {
        send(&self.wake_glass, namespace, name);
    }

    /// Has everything looked at that rules on commands may be about.
    pub fn rules_changed(&self) {
        for wake in self.wake_scripts.values() {
            let _ = wake.send(());
        }
        for (namespace, name) in self.awaiting.take(None) {
            self.wake(&namespace, &name);
        }
    }

    /// Has the runs looked at that may have waited for a ticket.
    pub fn ticket_is_live(&self, namespace: &str) {
        for (_, name) in self.awaiting.take(Some(namespace)) {
            self.wake(namespace, &name);
        }
    }

    /// UID of a namespace as it is now.
    pub async fn uid_of(&self, name: &str) -> Result<String> {
        let read = async || {
            let namespaces = Api::<Namespace>::all(self.prompt.clone());
            let namespace = namespaces.get(name).await;
            let uid = namespace.map(|found| found.uid().unwrap_or_default());
            uid.map_err(Arc::new)
        };
        let uid = self.namespace_uids.ask(name.to_owned(), read).await;
        uid.map_err(|source| Error::Observe {
            what: format!("Namespace {name}"),
            source,
        })
    }

    /// UID of a run's namespace, which records are keyed by.
    pub async fn namespace_uid(&self, run: &str, name: &str) -> Result<String> {
        if let Some(uid) = self.namespaces.lock().expect("no holder panics").get(run) {
            return Ok(uid.clone());
        }
        let uid = self.uid_of(name).await?;
        self.namespaces
            .lock()
            .expect("no holder panics")
            .insert(run.to_owned(), uid.clone());
        Ok(uid)
    }

    /// A ChangeCalendar as it is now, if there is one.
    pub async fn calendar(
        &self,
        namespace: &str,
        name: &str,
    ) -> std::result::Result<Option<Arc<ChangeCalendar>>, Arc<kube::Error>> {
        let read = async || {
            let calendars = Api::<ChangeCalendar>::namespaced(self.prompt.clone(), namespace);
            let calendar = calendars.get_opt(name).await;
            calendar.map(|c| c.map(Arc::new)).map_err(Arc::new)
        };
        let question = [namespace, name].map(str::to_owned);
        self.calendars.ask(question, read).await
    }

    /// Notes that an object's turn went well.
    pub fn succeeded<K: Resource<DynamicType = ()>>(&self, object: &K) {
        let uid = object.meta().uid.clone().unwrap_or_default();
        self.failures.succeeded(&uid);
        self.metrics.turn::<K>("Done");
    }

    /// Notes what a run holds or waits for; its parts are told when it is suspended and resumed.
    pub fn register(&self, claim: &Claim) {
        for (namespace, name) in self.claims.register(claim) {
            self.wake(&namespace, &name);
        }
    }

    /// Has the next run of a namespace begin where its work has left the line.
    pub fn let_in(&self, namespace: &str) {
        if let Some(name) = self.crowds.next(namespace, self.places.line(namespace)) {
            self.wake(namespace, &name);
        }
    }

    /// Gives a run's machines back, and wakes whoever waits for them.
    pub fn release(&self, run: &str) {
        for (namespace, name) in self.claims.release(run) {
            self.wake(&namespace, &name);
        }
    }

    /// Forgets what was kept of a run that has ended.
    pub fn forget(&self, run: &str) {
        // Nobody may wait.
        let _ = self.ended.send(run.to_owned());
        self.release(run);
        self.ledgers.close(run);
        self.audit.forget(run);
        self.reported.lock().expect("no holder panics").remove(run);
        self.namespaces
            .lock()
            .expect("no holder panics")
            .remove(run);
        self.failures.succeeded(run);
    }
}

/// How often an object's turns failed in a row.
#[derive(Default)]
pub struct Failures(Mutex<HashMap<String, u32>>);

impl Failures {
    pub fn failed(&self, uid: &str) -> u32 {
        let mut all = self.0.lock().expect("no holder panics");
        let count = all.entry(uid.to_owned()).or_default();
        *count += 1;
        *count - 1
    }

    pub fn succeeded(&self, uid: &str) {
        self.0.lock().expect("no holder panics").remove(uid);
    }
}
