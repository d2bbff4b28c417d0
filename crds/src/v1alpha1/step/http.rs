//! The body `http`: one request, and what its answer has to look like.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::schema;

/// A request from the operator, without following redirects. Loopback, link-local and the cluster's own addresses are refused unless the installation allows them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.body) || !(self.method in ['Get', 'Head'])").message("Get and Head send no body"))]
pub struct HttpStep {
    /// url to ask, http or https. May be a template, as `http://{{ target.address }}:8080/healthz`.
    #[schemars(length(min = 8, max = 2048))]
    pub url: String,
    /// method of the request. Get (default) and Head are asked again when the operator restarts; Post, Put, Patch and Delete are sent at most once, and one that is cut off becomes Unknown.
    #[serde(default)]
    pub method: HttpMethod,
    /// headers are values or templates. A sensitive parameter is passed on whole.
    #[serde(default)]
    #[schemars(schema_with = "schema::text_map")]
    pub headers: BTreeMap<String, String>,
    /// body of the request. May be a template, without sensitive parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub body: Option<String>,
    /// expect says which answer is a success. Default: any status from 200 to 299.
    #[serde(default)]
    pub expect: HttpExpect,
    /// caBundle are PEM certificates that https servers are verified with. Default: the public roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32768))]
    pub ca_bundle: Option<String>,
}

/// Method of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HttpMethod {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

impl HttpMethod {
    /// Whether asking twice has no more effect than asking once.
    pub const fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }
}

/// What an answer has to be; all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpExpect {
    /// status codes of which the answer has one. Default: 200 to 299.
    #[serde(default)]
    #[schemars(length(max = 20), inner(range(min = 100, max = 599)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub status: Vec<i32>,
    /// body is a regular expression that is found in the first MiB of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub body: Option<String>,
    /// headers are regular expressions, by the header in which each is found.
    #[serde(default)]
    #[schemars(schema_with = "schema::text_map")]
    pub headers: BTreeMap<String, String>,
}
