//! Whether records answer: their APIService, their discovery, and one question.

use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::{
    Api,
    api::{DynamicObject, ListParams},
};

use super::{Finding, Level};
use crate::{cluster::Cluster, error::status, executions};

const SERVICE: &str = "v1alpha1.records.pilothouse.dev";

pub async fn look(cluster: &Cluster) -> Vec<Finding> {
    let (service, answer) = tokio::join!(service(cluster), answer(cluster));
    vec![service, answer]
}

async fn service(cluster: &Cluster) -> Finding {
    let api: Api<APIService> = Api::all(cluster.client.clone());
    let fix = "kubectl get pods,pvc -n pilothouse-system -l app.kubernetes.io/component=server, and the server's log";
    match api.get_opt(SERVICE).await {
        Ok(Some(service)) => available(&service, fix),
        Ok(None) => Finding::bad(
            "apiservice",
            Level::Broken,
            format!("there is no APIService {SERVICE}"),
            "helm upgrade --install pilothouse charts/pilothouse",
        ),
        Err(error) => Finding::unseen("apiservice", SERVICE, &error),
    }
}

fn available(service: &APIService, fix: &str) -> Finding {
    let conditions = service
        .status
        .iter()
        .flat_map(|s| s.conditions.iter().flatten());
    match conditions.into_iter().find(|c| c.type_ == "Available") {
        Some(c) if c.status == "True" => {
            Finding::good("apiservice", format!("{SERVICE} is available"))
        }
        Some(c) => {
            let (reason, message) = (
                c.reason.clone().unwrap_or_default(),
                c.message.clone().unwrap_or_default(),
            );
            Finding::bad(
                "apiservice",
                Level::Broken,
                format!("{SERVICE} is not available: {reason}: {message}"),
                fix,
            )
        }
        None => Finding::bad(
            "apiservice",
            Level::Broken,
            format!("{SERVICE} was not looked at yet"),
            fix,
        ),
    }
}

/// What a person would do: ask for one execution.
async fn answer(cluster: &Cluster) -> Finding {
    let api: Api<DynamicObject> = Api::namespaced_with(
        cluster.client.clone(),
        &cluster.namespace,
        &executions::resource(),
    );
    let (grant, fix) = (
        "have an admin bind you to pilothouse-viewer",
        "runs wait until records answer, and nothing is lost; see the server's log",
    );
    match api.list(&ListParams::default().limit(1)).await {
        Ok(_) => Finding::good(
            "records",
            format!(
                "executions of namespace {} can be listed",
                cluster.namespace
            ),
        ),
        Err(error) => match status(&error) {
            Some(403) => Finding::bad(
                "records",
                Level::Lacking,
                format!(
                    "you may not list executions in namespace {}",
                    cluster.namespace
                ),
                grant,
            ),
            Some(404) => Finding::bad(
                "records",
                Level::Broken,
                "records.pilothouse.dev/v1alpha1 is not served",
                "helm upgrade --install pilothouse charts/pilothouse",
            ),
            _ => Finding {
                level: Level::Broken,
                fix: Some(fix.to_owned()),
                ..Finding::unseen("records", "executions", &error)
            },
        },
    }
}
