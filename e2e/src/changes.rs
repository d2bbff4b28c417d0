//! What stories of changes play on: rita writes tickets, bob and carol review them, ivan carries them out.

use crds::v1alpha1::{ChangeTicket, ChangeTicketStatus, find_condition};
use kube::{Api, Client};
use serde_json::Value;

use crate::{Guest, Manifest, Stage, Terminal, accepted, eventually, stage::PATIENCE, tickets};

pub struct Changes {
    pub stage: Stage,
    pub tickets: Api<ChangeTicket>,
    /// Rita's.
    pub client: Client,
    pub rita: Terminal,
    pub bob: Terminal,
    pub carol: Terminal,
    pub ivan: Terminal,
}

impl Changes {
    pub async fn set(story: &str) -> Self {
        let stage = Stage::set(story).await;
        let writes = ("create", "changetickets");
        let client = stage.person("rita", "pilothouse-admin", writes).await;
        for person in ["bob", "carol"] {
            let decides = ("approve", "changetickets");
            stage.person(person, "pilothouse-approver", decides).await;
        }
        let starts = ("start", "changetickets");
        stage.person("ivan", "pilothouse-implementer", starts).await;
        let terminal = |person| Terminal::of(person, stage.name());
        Self {
            tickets: Api::namespaced(stage.client.clone(), stage.name()),
            rita: terminal("rita"),
            bob: terminal("bob"),
            carol: terminal("carol"),
            ivan: terminal("ivan"),
            client,
            stage,
        }
    }

    /// With work that tickets can have done on the hosts.
    pub async fn of(story: &str, work: &str) -> Self {
        let changes = Self::set(story).await;
        changes.stage.hosts_seen().await;
        changes.writes(work).await;
        changes
    }

    /// Rita applies every document.
    pub async fn writes(&self, yaml: &str) {
        let yaml = yaml.replace("NAMESPACE", self.stage.name());
        for manifest in Manifest::read(&yaml) {
            let manifest = manifest.within(self.stage.name());
            accepted(manifest.apply(&self.client).await);
        }
    }

    /// A ticket as it is written.
    pub fn ticket(&self, name: &str, spec: &Value) -> Manifest {
        Manifest::of("ChangeTicket", name, spec).within(self.stage.name())
    }

    /// Rita applies a ticket.
    pub async fn plans(&self, name: &str, spec: &Value) {
        accepted(self.ticket(name, spec).apply(&self.client).await);
    }

    /// Waits until the operator has looked at a ticket as it is now, and says this of it.
    pub async fn until(
        &self,
        name: &str,
        what: &str,
        is: impl Fn(&ChangeTicketStatus) -> bool,
    ) -> ChangeTicket {
        tickets::until(&self.tickets, name, what, is).await
    }

    /// Waits until a ticket says this of itself as it is now.
    pub async fn ready(&self, name: &str, reason: &str) -> ChangeTicketStatus {
        tickets::ready(&self.tickets, name, reason).await
    }

    /// The same, and in which words it does.
    pub async fn told(&self, name: &str, reason: &str) -> (ChangeTicketStatus, String) {
        let status = self.ready(name, reason).await;
        let ready = find_condition(&status.conditions, "Ready").expect("it says so");
        let message = ready.message.clone();
        (status, message)
    }

    pub async fn agrees(&self, person: &Terminal, name: &str) {
        let named = format!("ticket/{name}");
        // What there is to decide on stands in its status, which a change empties for a moment.
        eventually("a decision", PATIENCE, || async {
            let said = person.pilothouse(&["approve", &named]).await;
            (said.code == Some(0)).then_some(())
        })
        .await;
    }

    /// Bob and carol agree.
    pub async fn agreed(&self, name: &str) {
        self.agrees(&self.bob, name).await;
        self.agrees(&self.carol, name).await;
    }

    /// The lines that work of the story left on a host.
    pub fn lines(&self, host: &'static str) -> Vec<String> {
        let file = format!("cat /var/tmp/{} 2>/dev/null; true", self.stage.name());
        let lines = Guest(host).sh(&file);
        lines.lines().map(str::to_owned).collect()
    }
}
