//! Changes that are planned while the webhook is asked: ten thousand ChangeTickets, each with a window of its own, what it touches and what it allows.

use std::time::Duration;

use bench::stage;
use crds::v1alpha1::ChangeTicket;
use k8s_openapi::{
    api::core::v1::Namespace,
    jiff::{Timestamp, ToSpan},
};
use kube::{Api, Client, api::ListParams};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::Result;

const NAMESPACES: usize = 50;
/// In each namespace.
const TICKETS: usize = 200;
const PATIENCE: Duration = Duration::from_mins(15);

/// Writes them, and returns once the operator has looked at each.
pub async fn planned(client: &Client) -> Result<()> {
    for number in 0..NAMESPACES {
        let namespace = name(number);
        let own = json!({"metadata": {"name": namespace}});
        stage::put::<Namespace>(&Api::all(client.clone()), own).await?;
        let tickets: Api<ChangeTicket> = Api::namespaced(client.clone(), &namespace);
        stage::all((0..TICKETS).map(|n| stage::put(&tickets, ticket(n)))).await?;
    }
    let all: Api<ChangeTicket> = Api::all(client.clone());
    let looked_at = async {
        while unseen(&all).await? > 0 {
            sleep(Duration::from_secs(2)).await;
        }
        Ok::<_, kube::Error>(())
    };
    Ok(timeout(PATIENCE, looked_at).await??)
}

fn name(number: usize) -> String {
    format!("bench-tickets-{number}")
}

/// One of an hour of its own, that is in review.
fn ticket(n: usize) -> Value {
    let start = Timestamp::now() + i64::try_from(n).unwrap_or_default().hours();
    let touched = format!("app-{n}");
    json!({"metadata": {"name": format!("change-{n}")}, "spec": {
        "title": format!("move {touched} to another database"), "type": "Regular", "level": "C", "submit": true,
        "description": "The old one is switched off at the end of the year. Readers see stale rows for a minute.",
        "window": {"start": start, "end": start + 1.hour()},
        "scope": {"objects": [{"group": "apps", "resource": "deployments", "name": touched}]},
        "plan": {"guide": "Point the application at the new database, look at its errors, and point it back where there are any."},
        "implementers": {"users": ["ivan", "inge"], "groups": ["database"]},
        "allow": [{"groups": ["apps"], "resources": ["deployments"], "names": [touched], "operations": ["Update", "Scale"]},
            {"groups": [""], "resources": ["pods"], "names": [format!("{touched}-*")], "operations": ["Exec", "Delete"]}],
        "review": [{"name": "leads", "users": ["bob", "bea"]}]}})
}

/// How many the operator has not looked at.
async fn unseen(all: &Api<ChangeTicket>) -> kube::Result<usize> {
    let found = all.list(&ListParams::default()).await?;
    let seen = |ticket: &&ChangeTicket| {
        let status = ticket.status.as_ref();
        status.is_some_and(|status| status.observed_generation == ticket.metadata.generation)
    };
    let unseen = found.items.len() - found.items.iter().filter(seen).count();
    println!("{unseen} tickets to look at");
    Ok(unseen)
}
