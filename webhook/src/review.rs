//! `AdmissionReview` of admission.k8s.io/v1, as much of it as is read and answered. Objects stay text until somebody needs a part of them.

use std::collections::BTreeMap;

use decide::admission::Request;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What the API server asks.
#[derive(Deserialize)]
pub struct Review<'a> {
    #[serde(borrow)]
    pub request: Question<'a>,
}

/// The request that it asks about.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Question<'a> {
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
    #[serde(default, borrow)]
    pub object: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub old_object: Option<&'a RawValue>,
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

impl Question<'_> {
    /// What is written, as decisions are asked about it.
    pub fn written(&self) -> Request<'_> {
        Request {
            object: text(self.object).unwrap_or("{}"),
            before: text(self.old_object),
            ..Request::default()
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

/// Text of an object; null is none.
pub fn text(object: Option<&RawValue>) -> Option<&str> {
    object.map(RawValue::get).filter(|text| *text != "null")
}
