//! `AdmissionReview` of admission.k8s.io/v1, as much of it as is read and answered.

use std::collections::BTreeMap;

use decide::admission::Request;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What the API server asks.
#[derive(Deserialize)]
pub struct Review<O> {
    pub request: Question<O>,
}

/// The request that it asks about; its objects are read as what they are judged as, or stay text.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Question<O> {
    pub uid: String,
    #[serde(default)]
    pub kind: Kind,
    #[serde(default)]
    pub resource: Resource,
    #[serde(default)]
    pub operation: String,
    /// Whether nothing comes of it.
    #[serde(default)]
    pub dry_run: bool,
    #[serde(default)]
    pub sub_resource: Option<String>,
    #[serde(default)]
    pub namespace: Option<String>,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub user_info: Asker,
    pub object: Option<O>,
    pub old_object: Option<O>,
}

/// Of what kind the object is.
#[derive(Default, Deserialize)]
pub struct Kind {
    #[serde(default)]
    pub group: String,
    #[serde(default)]
    pub kind: String,
}

/// The kind as it stands in paths.
#[derive(Default, Deserialize)]
pub struct Resource {
    #[serde(default)]
    pub group: String,
    #[serde(default)]
    pub resource: String,
}

/// Who makes it.
#[derive(Default, Deserialize)]
pub struct Asker {
    #[serde(default)]
    pub username: String,
    #[serde(default)]
    pub groups: Vec<String>,
}

/// Objects as they are written.
pub type Text<'a> = &'a RawValue;

/// What the API server is answered.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    api_version: &'static str,
    kind: &'static str,
    pub response: Response,
}

/// The answer itself.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    pub uid: String,
    pub allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub audit_annotations: BTreeMap<&'static str, String>,
}

/// Why not.
#[derive(Debug, Serialize)]
pub struct Status {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
}

impl Question<Text<'_>> {
    /// What is written, as decisions are asked about it.
    pub fn written(&self) -> Request<'_> {
        Request {
            object: self.object.map_or("{}", RawValue::get),
            before: self.old_object.map(RawValue::get),
        }
    }
}

impl Answered {
    /// One that lets in, with these warnings.
    pub const fn warning(uid: String, warnings: Vec<String>) -> Self {
        Self::with(Response {
            uid,
            allowed: true,
            status: None,
            warnings,
            audit_annotations: BTreeMap::new(),
        })
    }

    pub const fn with(response: Response) -> Self {
        Self {
            api_version: "admission.k8s.io/v1",
            kind: "AdmissionReview",
            response,
        }
    }
}
