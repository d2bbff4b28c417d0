//! Who gets past a guard in an emergency.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who gets past in an emergency. Whoever may impersonate such a group can enter it for one request: kubectl --as NAME --as-group GROUP; the audit log of the API server has both names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Glass {
    /// groups of people, as the API server knows them, and of accounts, such as system:serviceaccounts:NAMESPACE; 16 at most.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub groups: Vec<String>,
    /// record says whether they need a live BreakGlass of their own in the namespace of what they do: Optional (default) lets all of them pass, Required only those who have one, and so no account, and nobody to what is in no namespace.
    #[serde(default)]
    pub record: GlassRecord,
}

/// Whether a BreakGlass is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GlassRecord {
    #[default]
    Optional,
    Required,
}
