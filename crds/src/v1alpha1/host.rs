//! Host: a virtual or physical machine that is reached over SSH.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LocalRef, Requester, job_run::default_runner};

/// How a machine is reached, and as whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "pilothouse.dev",
    version = "v1alpha1",
    kind = "Host",
    namespaced,
    status = "HostStatus",
    category = "pilothouse",
    doc = "Host is a virtual or physical machine that runs work on over SSH. Its credentials live in a Secret of type pilothouse.dev/ssh, which names the addresses they may be used with.",
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "Address", type_ = "string", json_path = ".spec.address"),
    printcolumn(
        name = "Reachable",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Reachable')].status"
    ),
    printcolumn(name = "OS", type_ = "string", json_path = ".status.facts.os"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Reachable')].message",
        priority = 1
    )
)]
#[x_kube(validation = Rule::new("(size(self.hostKeys) > 0) != (self.hostKeyPolicy == 'TrustOnFirstUse')").message("pin hostKeys, or set hostKeyPolicy to TrustOnFirstUse and give none"))]
pub struct HostSpec {
    /// type of the machine: VirtualMachine or PhysicalMachine.
    #[serde(rename = "type")]
    pub type_: HostType,
    /// address is an IP address or a DNS name.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = "^[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?$")
    )]
    pub address: String,
    /// port of the SSH server. Default 22.
    #[serde(default = "ssh_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// user to log in as. Default root.
    #[serde(default = "root")]
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[a-z_][a-z0-9_.-]*$"))]
    pub user: String,
    /// escalation is None (default) or Sudo: work is done through `sudo -n`.
    #[serde(default)]
    pub escalation: Escalation,
    /// credentialsRef is a Secret of type pilothouse.dev/ssh. It is read with the rights of serviceAccountName.
    pub credentials_ref: LocalRef,
    /// serviceAccountName is the account whose rights are used to look after this host. Default pilothouse-runner.
    #[serde(default = "default_runner")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: String,
    /// hostKeys are the public keys of the machine, in OpenSSH form; any of them is accepted.
    #[serde(default)]
    #[schemars(length(max = 8), inner(length(min = 16, max = 1024)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub host_keys: Vec<String>,
    /// hostKeyPolicy is Pinned (default) or TrustOnFirstUse: the key seen first is kept in status and pinned from then on. Passwords are never sent on first use.
    #[serde(default)]
    pub host_key_policy: HostKeyPolicy,
    /// jumpHostRef is the Host through which this one is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jump_host_ref: Option<LocalRef>,
    /// nodeName is the cluster node that this machine is, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub node_name: Option<String>,
    /// transport is Journal (default): the toolkit is copied to the machine and every effect happens exactly once; or Plain: nothing is copied, and what is cut off in the middle is Unknown.
    #[serde(default)]
    pub transport: Transport,
    /// requestedBy is who wrote this spec last. Stamped by the API server; what is written here is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<Requester>,
}

fn ssh_port() -> i32 {
    22
}

fn root() -> String {
    "root".to_owned()
}

/// What a machine is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HostType {
    VirtualMachine,
    PhysicalMachine,
}

/// How work gets more rights than the login has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Escalation {
    #[default]
    None,
    Sudo,
}

/// How a host key comes to be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HostKeyPolicy {
    #[default]
    Pinned,
    TrustOnFirstUse,
}

/// How work is carried to a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Transport {
    #[default]
    Journal,
    Plain,
}

/// Observed state of a Host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostStatus {
    /// conditions: Reachable is True when the last look at the machine succeeded; Ready says the same for generic tools.
    #[serde(default)]
    #[schemars(schema_with = "super::schema::conditions")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// observedGeneration is the generation that this status speaks of; -1 until the operator has looked at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// facts of the machine as last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
    /// pinnedHostKey is the key seen on first use; another one is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub pinned_host_key: Option<String>,
    /// failures is how many looks in a row failed; the wait between them doubles from 10s to 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub failures: Option<i32>,
    /// lastSeen is when the machine last answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Time>,
    /// lastTried is when the machine was last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_tried: Option<Time>,
}

/// What a machine says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// os is the distribution's pretty name.
    #[schemars(length(max = 128))]
    pub os: String,
    /// kernel release.
    #[schemars(length(max = 128))]
    pub kernel: String,
    /// arch of the machine, such as x86_64.
    #[schemars(length(max = 32))]
    pub arch: String,
    /// bootID changes with every boot.
    #[serde(rename = "bootID")]
    #[schemars(length(max = 64))]
    pub boot_id: String,
    /// machineID stays the same over boots; runs that would touch the same machine wait for each other by it.
    #[serde(rename = "machineID")]
    #[schemars(length(max = 64))]
    pub machine_id: String,
    /// cpus is the number of processors.
    pub cpus: i32,
    /// memoryMiB is the memory in MiB.
    #[serde(rename = "memoryMiB")]
    pub memory_mib: i64,
}
