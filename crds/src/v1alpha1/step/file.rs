//! The body `file`: one file, put on each host.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::SecretKeyRef;

/// A file, put in the place of what is there in one step, so that nobody ever reads half of it; one that is there already, with its owner and mode, is left alone. Exactly one of `content`, `configMap`, `secret`, `url` and `oci` says what is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.content), has(self.configMap), has(self.secret), has(self.url), has(self.oci)].filter(x, x).size() == 1").message("a file comes from exactly one of content, configMap, secret, url and oci"))]
pub struct FileStep {
    /// path of the file on the host; its folder is there. May be a template.
    #[schemars(length(min = 2, max = 1024), regex(pattern = "^/"))]
    pub path: String,
    /// content written here. May be a template, without sensitive parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub content: Option<String>,
    /// configMap holds the content under a key; 512 KiB at most, and as it was when the run was planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapKeyRef>,
    /// secret holds the content under a key; 512 KiB at most, and as it was when the run was planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretKeyRef>,
    /// url that the host itself loads the content from, with curl or wget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<FileUrl>,
    /// oci is a layer of an artifact in an OCI registry, that the host itself loads the content from, with curl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci: Option<FileOci>,
    /// owner of the file: a user of the host, or a user and a group as `user:group`. Default: the user that writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 65),
        regex(pattern = "^[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?$")
    )]
    pub owner: Option<String>,
    /// mode of the file, octal. Default 0644.
    #[serde(default = "readable")]
    #[schemars(length(max = 4), regex(pattern = "^[0-7]{3,4}$"))]
    pub mode: String,
    /// backups is how many of the versions before stay beside the file, as PATH.bak1 (the last one), PATH.bak2 and so on. Default 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10))]
    pub backups: i32,
}

fn readable() -> String {
    "0644".to_owned()
}

/// One key of a ConfigMap of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMapKeyRef {
    /// name of the ConfigMap. It is read with the rights of the run's service account.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// key inside the ConfigMap, of its data or binaryData.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Where a host loads a file from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileUrl {
    /// from is the URL, http or https. May be a template.
    #[schemars(length(min = 8, max = 2048))]
    pub from: String,
    /// sha256 of the content, 64 hexadecimal digits. Anything else is not put in place.
    #[schemars(length(max = 64), regex(pattern = "^[0-9a-f]{64}$"))]
    pub sha256: String,
    /// maxBytes is how much the host loads at most. Default 104857600, which is 100 MiB.
    #[serde(default = "hundred_mebibytes")]
    #[schemars(range(min = 1, max = 10_737_418_240_i64))]
    pub max_bytes: i64,
}

/// A layer of an artifact in an OCI registry, as `oras push` puts a file there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileOci {
    /// repository of the artifact with its registry in front, such as `ghcr.io/acme/tools`; no tag and no digest, since sha256 says which layer it is. May be a template.
    #[schemars(length(min = 3, max = 512))]
    pub repository: String,
    /// sha256 of the content, 64 hexadecimal digits: the digest of the layer, as the artifact's manifest has it. Anything else is not put in place.
    #[schemars(length(max = 64), regex(pattern = "^[0-9a-f]{64}$"))]
    pub sha256: String,
    /// maxBytes is how much the host loads at most. Default 104857600, which is 100 MiB.
    #[serde(default = "hundred_mebibytes")]
    #[schemars(range(min = 1, max = 10_737_418_240_i64))]
    pub max_bytes: i64,
    /// pullSecret is a Secret of type kubernetes.io/dockerconfigjson that has a login for the registry. It is read with the rights of the run's service account, and the login reaches the host. Default: the registry asks for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub pull_secret: Option<String>,
    /// plainHTTP speaks HTTP with the registry, which then has to be on a network that is trusted. Default false.
    #[serde(default, rename = "plainHTTP")]
    pub plain_http: bool,
}

fn hundred_mebibytes() -> i64 {
    100 << 20
}
