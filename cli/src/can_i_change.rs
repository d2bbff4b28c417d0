//! Whether the caller may change an object now: what the API server answers to a dry run, or, of what has none, what it says of their rights and what policies say. Beside that stand the policies that
//! are about the object, until when, and the tickets that let somebody pass. All of it is read with the caller's rights.

use std::{collections::BTreeMap, fmt::Debug};

use crds::v1alpha1::{
    BreakGlass, CalendarState, ChangeTicket, CommandPolicy, GlassRecord, PolicyMode,
    ProtectedOperation, ProtectionPolicy, Requester,
};
use decide::{
    admission::{self, Door, FREE},
    break_glass,
    change::{Deed, Permit, own_ticket},
    protection::{self, Asked, Stand},
};
use jiff::Timestamp;
use k8s_openapi::{
    api::{authorization::v1::ResourceAttributes, core::v1::Namespace},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{Api, Resource, ResourceExt as _, api::ListParams, core::NamespaceResourceScope};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    access, caller,
    cluster::Cluster,
    commands::Commands,
    error::{self, Error, Result, doing, status},
    object::Named,
    output::{self, Format},
    table::table,
    trial::{Operation, trial},
};

/// Exit code of a no.
const NO: u8 = 1;
const HEAD: [&str; 7] = ["POLICY", "MODE", "STATE", "YOU", "UNTIL", "WHY", "TICKETS"];

type Labels = BTreeMap<String, String>;

#[derive(Debug, clap::Args)]
pub struct CanIChangeArgs {
    /// The object: deployment/web, pod/db-0, ns/shop, deployments.apps/web
    pub object: String,
    /// What you would do to it
    #[arg(long, value_enum, default_value_t = Operation::Update)]
    pub verb: Operation,
    /// Namespace that Pilothouse is installed in
    #[arg(long, value_name = "NAMESPACE", default_value = "pilothouse-system")]
    pub system_namespace: String,
    /// What you would exec in the pod, behind --
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// All that was found.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    object: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    operation: ProtectedOperation,
    allowed: bool,
    known_by: KnownBy,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// When a policy flips that decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Time>,
    protection: Vec<Protection>,
    notes: Vec<String>,
}

/// Who has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum KnownBy {
    /// The API server, asked for the right.
    Rights,
    /// The API server, by a dry run.
    DryRun,
    /// This program, by what policies say.
    Policies,
}

/// A ProtectionPolicy that is about the object.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Protection {
    policy: String,
    mode: PolicyMode,
    state: CalendarState,
    /// What it is to the caller: Open, Closed, Glass or Ticket, and which of these.
    you: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// Live ChangeTickets that allow it, and whom.
    tickets: Vec<String>,
}

impl Protection {
    fn refuses(&self) -> bool {
        self.mode == PolicyMode::Enforce && self.you == "Closed"
    }
}

/// What the caller asks about, and what was found around it.
struct Scene<'a> {
    cluster: &'a Cluster,
    object: Named,
    operation: ProtectedOperation,
    by: Requester,
    labels: Labels,
    around: Labels,
    /// What could not be read.
    unread: Vec<Error>,
}

pub async fn answer(
    cluster: &Cluster,
    asked: &CanIChangeArgs,
    format: Option<Format>,
) -> Result<u8> {
    let mut scene = Scene::of(cluster, asked).await?;
    let free = scene.is_free(&asked.system_namespace);
    let (mut protection, mut commands) = (Vec::new(), Commands::default());
    if !free {
        protection = scene.protection().await;
        commands = scene.commands(asked).await;
    }
    let (allowed, known_by, reason) = scene.verdict(&protection, commands.refused).await?;
    let mut notes = commands.notes;
    notes.extend(scene.unread.iter().map(error::report));
    let answer = Answer {
        object: scene.object.title(),
        namespace: scene.object.namespace.clone(),
        operation: scene.operation,
        allowed,
        known_by,
        reason,
        until: until(&protection),
        protection,
        notes,
    };
    output::result(&answer, format, &answer.object, |_| answer.page())?;
    Ok(if allowed { 0 } else { NO })
}

impl<'a> Scene<'a> {
    async fn of(cluster: &'a Cluster, asked: &CanIChangeArgs) -> Result<Self> {
        let object = Named::typed(cluster, &asked.object).await?;
        let mut scene = Self {
            cluster,
            operation: asked.verb.into(),
            by: caller::requester(cluster).await?,
            labels: Labels::new(),
            around: Labels::new(),
            unread: Vec::new(),
            object,
        };
        let found = scene.object.api().get_metadata(&scene.object.name).await;
        match found {
            Ok(found) => scene.labels.clone_from(found.labels()),
            Err(error) if status(&error) == Some(404) => {
                return Err(Error::NoObject(asked.object.clone()));
            }
            Err(error) => {
                let what = format!("read {}", scene.object.title());
                scene.unread.push(doing(what)(error));
            }
        }
        Ok(scene)
    }

    /// Whether no policy is asked there.
    fn is_free(&self, system: &str) -> bool {
        let Named {
            kind,
            name,
            namespace,
            ..
        } = &self.object;
        let is_namespace = kind.group.is_empty() && kind.plural == "namespaces";
        let home = if is_namespace { name } else { namespace };
        home == system || FREE.contains(&home.as_str())
    }

    async fn all<K>(&mut self, plural: &str) -> Vec<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        self.listed(Api::all(self.cluster.client.clone()), plural)
            .await
    }

    /// Those of the object's namespace.
    async fn here<K>(&mut self, plural: &str) -> Vec<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let client = self.cluster.client.clone();
        self.listed(Api::namespaced(client, &self.object.namespace), plural)
            .await
    }

    async fn listed<K>(&mut self, api: Api<K>, plural: &str) -> Vec<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let found = api.list(&ListParams::default()).await;
        match found.map_err(doing(format!("read the {plural}"))) {
            Ok(list) => list.items,
            Err(error) => {
                self.unread.push(error);
                Vec::new()
            }
        }
    }

    /// The namespace's labels, where somebody chooses by them.
    async fn look_around(&mut self) {
        let name = self.object.namespace.clone();
        if name.is_empty() || !self.around.is_empty() {
            return;
        }
        let all: Api<Namespace> = Api::all(self.cluster.client.clone());
        match all.get_metadata(&name).await {
            Ok(found) => self.around.clone_from(found.labels()),
            Err(error) => self
                .unread
                .push(doing(format!("read namespace {name}"))(error)),
        }
    }

    async fn protection(&mut self) -> Vec<Protection> {
        let policies = self.all::<ProtectionPolicy>("ProtectionPolicies").await;
        if policies.iter().any(|p| p.spec.namespace_selector.is_some()) {
            self.look_around().await;
        }
        let asked = Asked {
            operation: self.operation,
            group: &self.object.kind.group,
            resource: &self.object.kind.plural,
            name: &self.object.name,
            namespace: &self.object.namespace,
            around: &self.around,
            labels: &[&self.labels],
        };
        let told = |policy| told(policy, &asked, &self.by);
        policies.iter().filter_map(told).collect()
    }

    /// What CommandPolicies say of what would be typed, where something would be.
    async fn commands(&mut self, asked: &CanIChangeArgs) -> Commands {
        use ProtectedOperation::{Attach, Exec};
        if !matches!(self.operation, Exec | Attach) {
            return Commands::default();
        }
        let policies = self.all::<CommandPolicy>("CommandPolicies").await;
        if policies.iter().any(|p| p.spec.namespace_selector.is_some()) {
            self.look_around().await;
        }
        let mut asking = policies;
        asking.retain(|policy| admission::asks(policy, Door::Exec, &self.around, &self.by));
        self.past_glass(&mut asking).await;
        let attaches = self.operation == Attach;
        if asked.command.is_empty() && !attaches {
            return Commands::unasked(&asking);
        }
        let ticket = self.ticket(!asking.is_empty()).await;
        let asked = admission::Asked {
            subresource: if attaches { "attach" } else { "exec" },
            matter: admission::Exec {
                command: asked.command.clone(),
                stdin: attaches,
                tty: false,
            },
            before: None,
            ticket: ticket.as_deref().ok(),
            own: ticket.as_ref().err().and_then(Option::as_deref),
        };
        Commands::judged(&asking, &asked)
    }

    /// Leaves out those that a live BreakGlass of the caller's lets them past.
    async fn past_glass(&mut self, asking: &mut Vec<CommandPolicy>) {
        let record = |policy: &CommandPolicy| {
            let glass = policy.spec.break_glass.as_ref();
            glass.is_some_and(|glass| glass.record == GlassRecord::Required)
        };
        if !asking.iter().any(record) {
            return;
        }
        let glasses = self.here::<BreakGlass>("BreakGlasses").await;
        let asker = break_glass::Asker {
            user: &self.by.user,
            groups: &self.by.groups,
            namespace: &self.object.namespace,
        };
        asking.retain(|policy| {
            let glass = (&*policy.name_any(), policy.spec.break_glass.as_ref());
            break_glass::passes(glass, asker, &glasses, Timestamp::now()).is_none()
        });
    }

    /// The live ticket under which the caller does it, where somebody asks for one, or why one of their own does not let them.
    async fn ticket(&mut self, is_asked_for: bool) -> std::result::Result<String, Option<String>> {
        if !is_asked_for {
            return Err(None);
        }
        let tickets = self.here::<ChangeTicket>("ChangeTickets").await;
        let deed = Deed {
            group: "",
            resource: "pods",
            name: &self.object.name,
            operation: self.operation,
        };
        let permits: Vec<_> = tickets.iter().filter_map(Permit::of).collect();
        Permit::under(&permits, &self.by, deed, Timestamp::now())
    }

    /// The answer, by whom, and why not.
    async fn verdict(
        &mut self,
        protection: &[Protection],
        commands: Option<String>,
    ) -> Result<(bool, KnownBy, Option<String>)> {
        let right = self.right();
        let words = words(&right);
        let asking = doing(format!("ask whether you may {words}"));
        if !access::holds(self.cluster, right).await.map_err(asking)? {
            let reason = format!("no role lets you {words}; whoever administers it binds you one");
            return Ok((false, KnownBy::Rights, Some(reason)));
        }
        if let Some(tried) = trial(self.cluster, &self.object, self.operation).await? {
            return Ok((tried.is_ok(), KnownBy::DryRun, tried.err()));
        }
        // Nobody else answers, so what could not be read is no yes.
        if let Some(error) = self.unread.pop() {
            return Err(error);
        }
        let closed = protection.iter().find(|policy| policy.refuses());
        let closed = closed.map(|policy| {
            let why = policy
                .why
                .as_deref()
                .unwrap_or("the operator has not looked at it yet");
            format!("ProtectionPolicy {} is closed: {why}", policy.policy)
        });
        let reason = closed.or(commands);
        Ok((reason.is_none(), KnownBy::Policies, reason))
    }

    fn right(&self) -> ResourceAttributes {
        use ProtectedOperation as Op;
        let (verb, subresource) = match self.operation {
            Op::Create => ("create", None),
            Op::Update => ("patch", None),
            Op::Delete => ("delete", None),
            Op::Scale => ("patch", Some("scale")),
            Op::Evict => ("create", Some("eviction")),
            Op::Exec => ("create", Some("exec")),
            Op::Attach => ("create", Some("attach")),
            Op::PortForward => ("create", Some("portforward")),
            Op::EphemeralContainers => ("patch", Some("ephemeralcontainers")),
        };
        let Named {
            kind,
            name,
            namespace,
            ..
        } = &self.object;
        ResourceAttributes {
            group: Some(kind.group.clone()),
            resource: Some(kind.plural.clone()),
            subresource: subresource.map(ToOwned::to_owned),
            namespace: Some(namespace.clone()).filter(|namespace| !namespace.is_empty()),
            name: Some(name.clone()),
            verb: Some(verb.to_owned()),
            ..ResourceAttributes::default()
        }
    }
}

/// A right for people.
fn words(right: &ResourceAttributes) -> String {
    let of = |text: &Option<String>| text.clone().unwrap_or_default();
    let resource = [of(&right.resource), of(&right.subresource)];
    let resource = resource.join("/");
    let place = match &right.namespace {
        Some(namespace) => format!(" in namespace {namespace}"),
        None => String::new(),
    };
    format!(
        "{} {}{place}",
        of(&right.verb),
        resource.trim_end_matches('/')
    )
}

/// What a policy is to the caller; nothing where it is not about the object.
fn told(policy: &ProtectionPolicy, asked: &Asked<'_>, by: &Requester) -> Option<Protection> {
    let status = policy.status.clone().unwrap_or_default();
    let mut why = status.reason;
    let you = match protection::stand(policy, asked, by) {
        Stand::Elsewhere => return None,
        _ if policy.spec.mode == PolicyMode::Disabled => return None,
        Stand::Open => "Open".to_owned(),
        Stand::Closed => "Closed".to_owned(),
        Stand::Own(pass) => {
            why = Some(own_ticket(&by.user, &pass.ticket));
            "Closed".to_owned()
        }
        Stand::Glass(group) => format!("Glass of {group}"),
        Stand::Ticket(pass) => format!("Ticket {}", pass.ticket),
    };
    let tickets = protection::passes(policy, asked).map(|pass| {
        let whom: Vec<_> = pass.users.iter().chain(&pass.groups).cloned().collect();
        format!("{} of {}", pass.ticket, whom.join(", "))
    });
    Some(Protection {
        policy: policy.name_any(),
        mode: policy.spec.mode,
        state: CalendarState::of(you == "Open"),
        until: status.next_flip,
        why,
        tickets: tickets.collect(),
        you,
    })
}

/// When what refuses lets pass again, if all of it says so; where nothing refuses, when the first of it may.
fn until(protection: &[Protection]) -> Option<Time> {
    let enforced = protection.iter().filter(|p| p.mode == PolicyMode::Enforce);
    let (closed, open): (Vec<_>, Vec<_>) = enforced.partition(|policy| policy.refuses());
    if closed.is_empty() {
        return open.into_iter().filter_map(|p| p.until.clone()).min();
    }
    let all: Option<Vec<Time>> = closed.into_iter().map(|p| p.until.clone()).collect();
    all?.into_iter().max()
}

impl Answer {
    fn page(&self) -> String {
        let answer = if self.allowed { "yes" } else { "no" };
        let place = match self.namespace.as_str() {
            "" => String::new(),
            namespace => format!(" in namespace {namespace}"),
        };
        let known = match self.known_by {
            KnownBy::Rights => "your rights",
            KnownBy::DryRun => "a dry run",
            KnownBy::Policies => "what policies say",
        };
        let mut page = format!(
            "answer    {answer}\nasked     {:?} {}{place}\nknown by  {known}\n",
            self.operation, self.object
        );
        if let Some(reason) = &self.reason {
            page.push_str(&format!("because   {reason}\n"));
        }
        if let Some(until) = &self.until {
            page.push_str(&format!("until     {}\n", until.0));
        }
        let row = |policy: &Protection| {
            vec![
                policy.policy.clone(),
                format!("{:?}", policy.mode),
                policy.state.to_string(),
                policy.you.clone(),
                policy
                    .until
                    .as_ref()
                    .map(|at| at.0.to_string())
                    .unwrap_or_default(),
                policy.why.clone().unwrap_or_default(),
                policy.tickets.join("; "),
            ]
        };
        if !self.protection.is_empty() {
            let rows: Vec<_> = self.protection.iter().map(row).collect();
            page.push_str(&format!("\n{}", table(&HEAD, &rows)));
        }
        for note in &self.notes {
            page.push_str(&format!("\nnote: {note}\n"));
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(name: &str, you: &str, until: Option<&str>) -> Protection {
        Protection {
            policy: name.into(),
            mode: PolicyMode::Enforce,
            state: CalendarState::of(you == "Open"),
            you: you.into(),
            until: until.map(|at| Time(at.parse().expect("a time"))),
            why: None,
            tickets: Vec::new(),
        }
    }

    #[test]
    fn it_is_no_until_all_that_refuses_is_open_and_yes_until_the_first_closes() {
        let (soon, late) = (Some("2026-12-24T00:00:00Z"), Some("2027-01-03T00:00:00Z"));
        let of = |all: &[Protection]| until(all).map(|at| at.0.to_string());
        let [a, b] = [policy("a", "Closed", soon), policy("b", "Closed", late)];
        assert_eq!(of(&[a.clone(), b.clone()]).as_deref(), late);
        assert_eq!(of(&[a.clone(), policy("c", "Closed", None)]), None);
        assert_eq!(of(&[a.clone(), policy("c", "Open", late)]).as_deref(), soon);
        let open = [policy("a", "Open", late), policy("b", "Open", soon)];
        assert_eq!(of(&open).as_deref(), soon);
        let warns = Protection {
            mode: PolicyMode::Warn,
            ..b
        };
        assert_eq!(of(&[warns]), None);
    }

    #[test]
    fn whoever_wrote_the_ticket_is_told_that_another_has_to_do_it() {
        let pass = json!({"namespace": "shop", "ticket": "move", "users": ["ivan"], "groups": ["crew"], "except": ["rita"],
            "allow": [{"groups": [""], "resources": ["pods"], "names": ["db-0"], "operations": ["Exec"]}]});
        let policy = json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "ProtectionPolicy", "metadata": {"name": "p", "generation": 1},
            "spec": {"rules": [{"resources": ["pods"]}], "require": {"ticket": {}}, "reason": "r"},
            "status": {"observedGeneration": 1, "state": "Closed", "reason": "only under a ticket", "passes": [pass]}});
        let policy: ProtectionPolicy = serde_json::from_value(policy).expect("a policy");
        let none = Labels::new();
        let asked = Asked {
            operation: ProtectedOperation::Exec,
            group: "",
            resource: "pods",
            name: "db-0",
            namespace: "shop",
            around: &none,
            labels: &[&none],
        };
        let of = |user: &str| {
            let by = Requester {
                user: user.into(),
                groups: vec!["crew".into()],
            };
            let told = told(&policy, &asked, &by).expect("it is about that");
            (told.refuses(), told.you, told.why.expect("it says why"))
        };
        let why = "only under a ticket".to_owned();
        assert_eq!(of("ivan"), (false, "Ticket move".into(), why));
        let (refused, you, why) = of("rita");
        assert!(refused && you == "Closed", "{you}");
        assert!(why.contains("another implementer has to do it"), "{why}");
    }

    #[test]
    fn a_page_says_no_why_until_when_and_who_passes() {
        let closed = Protection {
            why: Some("the books are closed".into()),
            tickets: vec!["move of ann".into()],
            ..policy("shop", "Closed", Some("2027-01-03T00:00:00Z"))
        };
        let answer = Answer {
            object: "deployments.apps/web".into(),
            namespace: "shop".into(),
            operation: ProtectedOperation::Delete,
            allowed: false,
            known_by: KnownBy::DryRun,
            reason: Some("Rule pilothouse-protection".into()),
            until: closed.until.clone(),
            protection: vec![closed],
            notes: vec!["look here".into()],
        };
        let wanted = "answer    no
asked     Delete deployments.apps/web in namespace shop
known by  a dry run
because   Rule pilothouse-protection
until     2027-01-03T00:00:00Z

POLICY   MODE      STATE    YOU      UNTIL                  WHY                    TICKETS
shop     Enforce   Closed   Closed   2027-01-03T00:00:00Z   the books are closed   move of ann

note: look here
";
        assert_eq!(answer.page(), wanted);
    }
}
