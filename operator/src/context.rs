//! What controllers share: clients, what is held in memory, and the way to wake a run.

use std::sync::Arc;

use crds::v1alpha1::{
    Approval, BreakGlass, ChangeAction, ChangeCalendar, ChangeSolution, ChangeTicket, JobRun,
    ProtectionPolicy, Requester, RunAction, Script,
};
use decide::lock::Claim;
use kube::{Api, Client, Resource, core::DeserializeGuard, runtime::reflector::ObjectRef};
use serving::Events;

use crate::{
    account::Accounts,
    args::Args,
    audit::Audit,
    bookings::Bookings,
    desk::Desk,
    doors::Doors,
    error::Result,
    hands::Hands,
    heard::{Heard, Known},
    memory::Memory,
    metrics::Metrics,
    namespaces::Namespaces,
    policies::Policies,
    precedence::Precedence,
    scope::Scope,
    traces::Traces,
    wakes::Wakes,
    ways::Ways,
};

/// A run by its name.
pub type Run = ObjectRef<DeserializeGuard<JobRun>>;
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
    pub args: Args,
    pub client: Client,
    /// For what does not give way: firings, and reads that are shared by many.
    pub prompt: Client,
    pub precedence: Precedence,
    pub accounts: Accounts,
    /// What people have said about runs and changes and what these hold.
    pub actions: Heard<RunAction>,
    pub approvals: Heard<Approval>,
    pub change_actions: Heard<ChangeAction>,
    pub policies: Policies,
    /// Where there can be any.
    pub protections: Option<Known<ProtectionPolicy>>,
    pub bookings: Bookings,
    pub doors: Doors,
    pub ways: Ways,
    pub records: records::client::Client,
    pub desk: Desk,
    pub audit: Audit,
    pub traces: Traces,
    pub metrics: Metrics,
    pub events: Events,
    /// Where anything is looked for.
    pub scope: Scope,
    /// UID of the cluster, which plans are frozen with.
    pub cluster: String,
    /// Who the operator is to the API server.
    pub me: Requester,
    /// Epoch of this leader; hosts refuse a lower one.
    pub epoch: i64,
    pub namespaces: Namespaces,
    pub wakes: Wakes,
    pub hands: Hands,
    pub memory: Memory,
}

impl Context {
    /// Has the run looked at soon.
    pub fn wake(&self, namespace: &str, name: &str) {
        self.wakes.runs.one(namespace, name);
    }

    /// Has the Script looked at that a decision is about.
    pub fn wake_script(&self, namespace: &str, name: &str) {
        self.wakes.script.one(namespace, name);
    }

    /// Has the Approval looked at whose run has come to what it is about.
    pub fn wake_approval(&self, namespace: &str, name: &str) {
        self.wakes.approvals.one(namespace, name);
    }

    /// Has the ticket looked at that a decision is about, or whose run has ended.
    pub fn wake_ticket(&self, namespace: &str, name: &str) {
        self.wakes.tickets.one(namespace, name);
    }

    /// Has the solution looked at that a decision is about, or that a ticket has ended with.
    pub fn wake_solution(&self, namespace: &str, name: &str) {
        self.wakes.solutions.one(namespace, name);
    }

    /// Has the BreakGlass looked at that a decision is about.
    pub fn wake_glass(&self, namespace: &str, name: &str) {
        self.wakes.glasses.one(namespace, name);
    }

    /// Has everything looked at that rules on commands may be about.
    pub fn rules_changed(&self) {
        self.wakes.scripts.each();
        for (namespace, name) in self.memory.awaiting.take(None) {
            self.wake(&namespace, &name);
        }
    }

    /// Has the runs looked at that may have waited for a ticket.
    pub fn ticket_is_live(&self, namespace: &str) {
        for (_, name) in self.memory.awaiting.take(Some(namespace)) {
            self.wake(namespace, &name);
        }
    }

    /// UID of a namespace as it is now.
    pub async fn uid_of(&self, name: &str) -> Result<String> {
        self.namespaces.now(name).await
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
        self.memory.calendars.ask(question, read).await
    }

    /// Notes that an object's turn went well.
    pub fn succeeded<K: Resource<DynamicType = ()>>(&self, object: &K) {
        let uid = object.meta().uid.clone().unwrap_or_default();
        self.memory.failures.succeeded(&uid);
        self.metrics.turn::<K>("Done");
    }

    /// Notes what a run holds or waits for; its parts are told when it is suspended and resumed.
    pub fn register(&self, claim: &Claim) {
        for (namespace, name) in self.memory.claims.register(claim) {
            self.wake(&namespace, &name);
        }
    }

    /// Has the next run of a namespace begin where its work has left the line.
    pub fn let_in(&self, namespace: &str) {
        if let Some(name) = self
            .hands
            .crowds
            .next(namespace, self.hands.places.line(namespace))
        {
            self.wake(namespace, &name);
        }
    }

    /// Gives a run's machines back, and wakes whoever waits for them.
    pub fn release(&self, run: &str) {
        for (namespace, name) in self.memory.claims.release(run) {
            self.wake(&namespace, &name);
        }
    }

    /// Forgets what was kept of a run that has ended.
    pub fn forget(&self, run: &str) {
        // Nobody may wait.
        let _ = self.wakes.ended.send(run.to_owned());
        self.release(run);
        self.memory.ledgers.close(run);
        self.audit.forget(run);
        self.memory
            .reported
            .lock()
            .expect("no holder panics")
            .remove(run);
        self.namespaces.forget(run);
        self.memory.failures.succeeded(run);
    }
}
