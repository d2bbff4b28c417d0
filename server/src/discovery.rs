//! What is served here, for clients that ask: the legacy and the aggregated form. It is the same for everybody and needs neither store nor API
//! server, because an APIService whose discovery fails holds up the deletion of every namespace of the cluster.

use axum::{
    Json, Router,
    http::{HeaderMap, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};

use crate::{
    accept::aggregated_discovery,
    archive, audit, checkpoints,
    failure::only,
    object::{API_VERSION, GROUP, KIND, RESOURCE, VERSION},
    openapi,
};

/// The paths that say what is served.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let base = format!("/apis/{API_VERSION}");
    Router::new()
        .route("/apis", only(get(groups)))
        .route(&format!("/apis/{GROUP}"), only(get(group)))
        .route(&base, only(get(resources)))
        .route("/openapi/v2", only(get(openapi::v2)))
        .route("/openapi/v3", only(get(openapi::v3_index)))
        .route(&format!("/openapi/v3{base}"), only(get(openapi::v3)))
        .route("/healthz", get(async || "ok"))
}

/// `/apis`
async fn groups(headers: HeaderMap) -> Response {
    if aggregated_discovery(&headers) {
        let kind = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        return ([(CONTENT_TYPE, kind)], aggregated().to_string()).into_response();
    }
    Json(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [group_entry()]}))
        .into_response()
}

/// `/apis/records.pilothouse.dev`
async fn group() -> Json<Value> {
    let mut group = group_entry();
    group["kind"] = json!("APIGroup");
    group["apiVersion"] = json!("v1");
    Json(group)
}

/// `/apis/records.pilothouse.dev/v1alpha1`
async fn resources() -> Json<Value> {
    Json(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": API_VERSION,
        "resources": [
            {
                "name": RESOURCE,
                "singularName": "execution",
                "namespaced": true,
                "kind": KIND,
                "verbs": ["get", "list", "watch"],
                "shortNames": ["exe"],
                "categories": ["pilothouse-records"],
            },
            {"name": "executions/log", "singularName": "", "namespaced": true, "kind": KIND, "verbs": ["get"]},
            {
                "name": archive::RESOURCE,
                "singularName": "archive",
                "namespaced": true,
                "kind": archive::KIND,
                "verbs": ["get", "list"],
                "shortNames": ["arc"],
                "categories": ["pilothouse-records"],
            },
            {
                "name": audit::RESOURCE,
                "singularName": "auditentry",
                "namespaced": true,
                "kind": audit::KIND,
                "verbs": ["get", "list"],
                "shortNames": ["aud"],
                "categories": ["pilothouse-records"],
            },
            {
                "name": checkpoints::RESOURCE,
                "singularName": "auditcheckpoint",
                "namespaced": false,
                "kind": checkpoints::KIND,
                "verbs": ["get", "list"],
            },
        ],
    }))
}

fn group_entry() -> Value {
    let version = json!({"groupVersion": API_VERSION, "version": VERSION});
    json!({"name": GROUP, "versions": [version], "preferredVersion": version})
}

fn aggregated() -> Value {
    let kind = json!({"group": GROUP, "version": VERSION, "kind": KIND});
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": [{
            "metadata": {"name": GROUP, "creationTimestamp": null},
            "versions": [{
                "version": VERSION,
                "freshness": "Current",
                "resources": [{
                    "resource": RESOURCE,
                    "responseKind": kind,
                    "scope": "Namespaced",
                    "singularResource": "execution",
                    "verbs": ["get", "list", "watch"],
                    "shortNames": ["exe"],
                    "categories": ["pilothouse-records"],
                    "subresources": [{"subresource": "log", "responseKind": kind, "verbs": ["get"]}],
                }, {
                    "resource": archive::RESOURCE,
                    "responseKind": {"group": GROUP, "version": VERSION, "kind": archive::KIND},
                    "scope": "Namespaced",
                    "singularResource": "archive",
                    "verbs": ["get", "list"],
                    "shortNames": ["arc"],
                    "categories": ["pilothouse-records"],
                }, {
                    "resource": audit::RESOURCE,
                    "responseKind": {"group": GROUP, "version": VERSION, "kind": audit::KIND},
                    "scope": "Namespaced",
                    "singularResource": "auditentry",
                    "verbs": ["get", "list"],
                    "shortNames": ["aud"],
                    "categories": ["pilothouse-records"],
                }, {
                    "resource": checkpoints::RESOURCE,
                    "responseKind": {"group": GROUP, "version": VERSION, "kind": checkpoints::KIND},
                    "scope": "Cluster",
                    "singularResource": "auditcheckpoint",
                    "verbs": ["get", "list"],
                }],
            }],
        }],
    })
}
