//! What is known of live ChangeTickets: what each permits, by namespace, as it was last heard. Before they were listed once, nothing is permitted.

use std::{collections::BTreeMap, sync::Arc};

use crds::v1alpha1::{ChangeTicket, Requester};
use decide::change::{Deed, Permit};
use k8s_openapi::jiff::Timestamp;
use kube::{ResourceExt as _, core::DeserializeGuard, runtime::watcher::Event};
use serving::Gate;
use tokio::sync::watch;

use crate::heard::News;

/// Those of live tickets, by namespace and name. What is known by now and what is told next share the namespaces in which nothing is new.
#[derive(Clone, Debug, Default)]
pub struct Permits(BTreeMap<String, Arc<Here>>);

/// Those of one namespace, by name.
type Here = BTreeMap<String, Arc<Permit>>;

/// As last heard.
pub type Known = watch::Receiver<Arc<Permits>>;

/// What is known, and who has to hear of tickets for that; opens the gate when all of them are known.
pub fn hearing(gate: Gate) -> (Known, impl FnMut(&News<ChangeTicket>) + Send + 'static) {
    let (tell, known) = watch::channel(Arc::default());
    let mut permits = Permits::default();
    let hear = move |news: &News<ChangeTicket>| {
        if permits.take_in(news) {
            tell.send_replace(Arc::new(permits.clone()));
            gate.set(true);
        }
    };
    (known, hear)
}

impl Permits {
    /// Whether what is known is whole and another with that. What a new list lacks is gone.
    fn take_in(&mut self, news: &News<ChangeTicket>) -> bool {
        match news {
            Event::Init => {
                self.0.clear();
                false
            }
            Event::InitApply(ticket) => {
                self.put(ticket);
                false
            }
            Event::InitDone => true,
            Event::Apply(ticket) => self.put(ticket),
            Event::Delete(ticket) => self.take(ticket),
        }
    }

    /// Whether it says something else with that; one that cannot be read permits nothing.
    fn put(&mut self, ticket: &DeserializeGuard<ChangeTicket>) -> bool {
        let permit = ticket.0.as_ref().ok().and_then(Permit::of);
        let Some(permit) = permit else {
            return self.take(ticket);
        };
        let namespace = ticket.namespace().unwrap_or_default();
        let here = Arc::make_mut(self.0.entry(namespace).or_default());
        here.insert(ticket.name_any(), Arc::new(permit));
        true
    }

    fn take(&mut self, ticket: &DeserializeGuard<ChangeTicket>) -> bool {
        let (namespace, name) = (ticket.namespace().unwrap_or_default(), ticket.name_any());
        let here = self.0.get_mut(&namespace);
        // Most tickets permit nothing, and nothing is copied for these.
        let Some(here) = here.filter(|here| here.contains_key(&name)) else {
            return false;
        };
        Arc::make_mut(here).remove(&name);
        if here.is_empty() {
            self.0.remove(&namespace);
        }
        true
    }

    /// The first ticket of a namespace under which somebody may do something now, or why one of their own does not let them.
    pub fn ticket(
        &self,
        namespace: &str,
        by: &Requester,
        deed: Deed<'_>,
        now: Timestamp,
    ) -> Result<String, Option<String>> {
        let here = self.0.get(namespace).into_iter();
        let here = here.flat_map(|here| here.values()).map(|permit| &**permit);
        Permit::under(here, by, deed, now)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// A live ticket of rita's in namespace shop, under which ivan may exec into db-0, and she may not.
    pub fn ticket(live: bool) -> DeserializeGuard<ChangeTicket> {
        let allow = json!([{"groups": [""], "resources": ["pods"], "names": ["db-0"], "operations": ["Exec"]}]);
        let ticket = json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "ChangeTicket",
            "metadata": {"name": "move", "namespace": "shop", "generation": 1},
            "spec": {"title": "t", "type": "Regular", "level": "C", "window": {"start": "2026-01-01T00:00:00Z", "end": "2096-01-01T00:00:00Z"},
                "plan": {"guide": "g"}, "implementers": {"users": ["ivan", "rita"]}, "requestedBy": {"user": "rita"}, "review": [{"name": "leads", "users": ["bob"]}], "allow": allow},
            "status": {"observedGeneration": 1, "live": live}});
        serde_json::from_value(ticket).unwrap()
    }

    /// What is known with it.
    pub fn known() -> Known {
        let mut permits = Permits::default();
        assert!(permits.take_in(&Event::Apply(ticket(true))));
        watch::channel(Arc::new(permits)).1
    }

    #[test]
    fn a_ticket_permits_while_it_is_heard_to_be_live() {
        let mut permits = Permits::default();
        let by = serde_json::from_value(json!({"user": "ivan", "groups": []})).unwrap();
        let deed = Deed {
            group: "",
            resource: "pods",
            name: "db-0",
            operation: crds::v1alpha1::ProtectedOperation::Exec,
        };
        let now: Timestamp = "2027-01-01T00:00:00Z".parse().unwrap();
        let has = |permits: &Permits, namespace| permits.ticket(namespace, &by, deed, now).is_ok();
        assert!(!permits.take_in(&Event::Apply(ticket(false))), "no news");
        assert!(!has(&permits, "shop"));
        assert!(permits.take_in(&Event::Apply(ticket(true))));
        assert!(has(&permits, "shop") && !has(&permits, "bank"));
        assert!(permits.take_in(&Event::Apply(ticket(false))));
        assert!(!has(&permits, "shop"), "its window is over");
        permits.take_in(&Event::InitApply(ticket(true)));
        assert!(permits.take_in(&Event::InitDone) && has(&permits, "shop"));
        assert!(permits.take_in(&Event::Delete(ticket(true))));
        assert!(!has(&permits, "shop"));
        permits.take_in(&Event::Apply(ticket(true)));
        permits.take_in(&Event::Init);
        assert!(permits.take_in(&Event::InitDone) && !has(&permits, "shop"));
    }

    #[test]
    fn news_of_one_namespace_copy_nothing_of_another() {
        let within = |namespace: &str, live: bool| {
            let mut ticket = ticket(live);
            let known = ticket.0.as_mut().unwrap();
            known.metadata.namespace = Some(namespace.to_owned());
            Event::Apply(ticket)
        };
        let mut permits = Permits::default();
        for namespace in ["bank", "shop"] {
            permits.take_in(&within(namespace, true));
        }
        let told = permits.clone();
        let shared = |permits: &Permits, namespace| {
            let now = permits.0.get(namespace);
            now.is_some_and(|now| Arc::ptr_eq(now, &told.0[namespace]))
        };
        assert!(permits.take_in(&within("shop", true)));
        assert!(shared(&permits, "bank") && !shared(&permits, "shop"));
        assert!(permits.take_in(&within("shop", false)));
        assert!(!permits.take_in(&within("shop", false)), "no news");
        assert!(shared(&permits, "bank") && permits.0.len() == 1);
        assert_eq!(told.0.len(), 2, "what was told stays as it was");
    }
}
