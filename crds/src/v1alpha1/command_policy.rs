//! CommandPolicy: which commands may run, judged on what a shell would make of them and never on their text.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Glass, Requester, Selector};

/// Rules on parsed commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "pilothouse.dev",
    version = "v1alpha1",
    kind = "CommandPolicy",
    plural = "commandpolicies",
    status = "CommandPolicyStatus",
    shortname = "cmdp",
    category = "pilothouse",
    doc = "CommandPolicy says which commands may run as they are, and which need a word first. Scripts are parsed, not searched: a command is found behind quotes, variables, sudo, sh -c, xargs, find, ssh and substitutions, and what cannot be known is held as onUnknown says. Where several policies speak of one command, the strictest decides.",
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "OnUnknown", type_ = "string", json_path = ".spec.onUnknown"),
    printcolumn(name = "Rules", type_ = "integer", json_path = ".status.rules"),
    printcolumn(
        name = "BuiltIn",
        type_ = "integer",
        json_path = ".status.builtInRules"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
pub struct CommandPolicySpec {
    /// mode is how much of what the rules say is done: Disabled judges nothing, Audit writes findings and holds nothing, Warn warns at most, Enforce (default) does what each rule says.
    #[serde(default)]
    pub mode: PolicyMode,
    /// applyTo lists whose commands are judged. Scripts: those of Scripts, whichever Job names them. Runs: those that Jobs and JobRuns say themselves (inline content, exec, the commands of pod steps, ad-hoc commands). Both are judged when a run begins, and Scripts also when they are written. PodExec: what kubectl exec and attach start in containers. Workloads: the commands, probes and hooks of containers in pods and what makes pods. These two are judged at admission, where what needs an approval is refused, and what needs a ticket passes for those alone whom a live ChangeTicket of the namespace allows it; never in kube-system, kube-public, kube-node-lease and the namespace of Pilothouse. Default Scripts and Runs.
    #[serde(default = "usual_places")]
    #[schemars(length(min = 1, max = 4))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub apply_to: Vec<CommandPlace>,
    /// namespaceSelector chooses namespaces by their labels. Default: every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<Selector>,
    /// onUnknown is what happens to what cannot be known before it runs: text that does not parse, a variable as the name of a command, a program that is downloaded or decoded. One of the actions of rules; default RequireApproval.
    #[serde(default = "approval")]
    pub on_unknown: CommandAction,
    /// failurePolicy is what becomes of a request that nobody can judge, because no webhook answers within two seconds: Ignore (default) lets it pass, Fail refuses it. Only for PodExec and Workloads, and only in mode Enforce.
    #[serde(default)]
    pub failure_policy: FailurePolicy,
    /// breakGlass names groups whose requests are not judged at admission, for emergencies; with record: Required they are judged, and pass with a live BreakGlass. Runs are judged all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<Glass>,
    /// builtIn says which of the rules that Pilothouse brings are used. Default: all of them.
    #[serde(default)]
    pub built_in: BuiltInRules,
    /// rules of one's own, 500 at most. For a command the first of them that matches decides, before the built-in ones; so a rule with action Allow is an exception.
    #[serde(default)]
    #[schemars(length(max = 500))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub rules: Vec<CommandRule>,
    /// requestedBy is who wrote this spec last. Stamped by the API server; what is written here is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<Requester>,
}

fn usual_places() -> Vec<CommandPlace> {
    vec![CommandPlace::Scripts, CommandPlace::Runs]
}

fn approval() -> CommandAction {
    CommandAction::RequireApproval
}

/// How much of what a policy says is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PolicyMode {
    Disabled,
    Audit,
    Warn,
    #[default]
    Enforce,
}

/// Where commands are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CommandPlace {
    Scripts,
    Runs,
    PodExec,
    Workloads,
}

/// What becomes of a request that nobody can judge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FailurePolicy {
    #[default]
    Ignore,
    Fail,
}

/// What happens to a command, the mildest first.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum CommandAction {
    Allow,
    Warn,
    RequireTicket,
    RequireApproval,
    Deny,
}

/// How much harm a command can do, the least first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum CommandSeverity {
    Low,
    #[default]
    Medium,
    High,
    Critical,
}

/// A part of the rules that Pilothouse brings.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum CommandPack {
    Files,
    Disks,
    Users,
    Network,
    Firewall,
    Kernel,
    Packages,
    Services,
    Containers,
    Kubernetes,
    Databases,
    Cloud,
    Programs,
}

impl CommandPack {
    /// Every pack, in the order of the documentation.
    pub const ALL: [Self; 13] = [
        Self::Files,
        Self::Disks,
        Self::Users,
        Self::Network,
        Self::Firewall,
        Self::Kernel,
        Self::Packages,
        Self::Services,
        Self::Containers,
        Self::Kubernetes,
        Self::Databases,
        Self::Cloud,
        Self::Programs,
    ];
}

/// Which of the built-in rules are used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!self.actions.exists(a, a.name in self.exclude)").message("a rule is either excluded or given another action"),
)]
pub struct BuiltInRules {
    /// packs whose rules are used. Default all; an empty list uses none.
    #[serde(default = "all_packs")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub packs: Vec<CommandPack>,
    /// exclude names rules that are not used, 200 at most.
    #[serde(default)]
    #[schemars(length(max = 200), inner(length(min = 1, max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub exclude: Vec<String>,
    /// actions gives rules another action than their own, 200 at most.
    #[serde(default)]
    #[schemars(length(max = 200))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub actions: Vec<BuiltInAction>,
}

fn all_packs() -> Vec<CommandPack> {
    CommandPack::ALL.to_vec()
}

impl Default for BuiltInRules {
    fn default() -> Self {
        Self {
            packs: all_packs(),
            exclude: Vec::new(),
            actions: Vec::new(),
        }
    }
}

/// Another action for a built-in rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BuiltInAction {
    /// name of the built-in rule.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// action that is taken instead of the rule's own.
    pub action: CommandAction,
}

/// One rule: what it matches, what then happens, and what people are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.name != 'unknown'").message("unknown is the name under which onUnknown is told; give the rule another"),
)]
pub struct CommandRule {
    /// name of the rule, by which findings and exceptions know it.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
    )]
    pub name: String,
    /// match says which commands are meant. Everything given in it must hold.
    #[serde(rename = "match")]
    pub match_: CommandMatch,
    /// action is what happens: Allow, Warn, RequireTicket (it runs under a live ChangeTicket, and waits for one until then), RequireApproval (it waits until somebody else has decided) or Deny.
    pub action: CommandAction,
    /// severity is how much harm it can do: Low, Medium (default), High or Critical.
    #[serde(default)]
    pub severity: CommandSeverity,
    /// why is the reason that people are told.
    #[schemars(length(min = 1, max = 512))]
    pub why: String,
    /// safer is what to do instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub safer: Option<String>,
}

/// What a rule matches in a command. Everything given must hold; of a list, one entry is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("size(self.commands) + size(self.redirectTo) + size(self.assigns) + size(self.sql) + size(self.shapes) > 0").message("a rule names at least one of commands, redirectTo, assigns, sql and shapes"),
    validation = Rule::new("size(self.subcommand) == 0 || size(self.commands) > 0").message("subcommand is of a command: give commands"),
)]
pub struct CommandMatch {
    /// commands by their names without a folder; * stands for any characters. rm also matches /bin/rm, busybox rm and sudo rm.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(min = 1, max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub commands: Vec<String>,
    /// subcommand is the words that follow the command in this order, flags and their values aside, such as [delete, ns|namespace]. | separates words of which one is enough, * stands for any characters.
    #[serde(default)]
    #[schemars(length(max = 8), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub subcommand: Vec<String>,
    /// flags that the command has. -r is also found in -rf, and --recursive also in --rec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags: Option<FlagMatch>,
    /// args are arguments that the command has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<ArgumentMatch>,
    /// unless is what makes the command harmless, so that the rule does not match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless: Option<CommandExcept>,
    /// redirectTo are files that the command's output goes to; ** stands for any characters, * for any but the slash.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub redirect_to: Vec<String>,
    /// assigns are variables that are set, by the command or for it; * stands for any characters.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(min = 1, max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub assigns: Vec<String>,
    /// sql are statements that the command gives to a database. DeleteAll and UpdateAll are those without a WHERE, or with one that is always true; AlterDrop is an ALTER TABLE that drops something; Server is ALTER SYSTEM, SET GLOBAL, SHUTDOWN and their like.
    #[serde(default)]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub sql: Vec<SqlStatement>,
    /// shapes are what several commands do together: a ForkBomb is a function that starts itself twice, a DownloadedProgram is run as it comes, and a DecodedProgram as it is decoded.
    #[serde(default)]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub shapes: Vec<CommandShape>,
}

/// Flags of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("size(self.anyOf) + size(self.allOf) > 0").message("give anyOf or allOf"))]
pub struct FlagMatch {
    /// anyOf are flags of which one is enough.
    #[serde(default)]
    #[schemars(length(max = 32), inner(length(min = 1, max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub any_of: Vec<String>,
    /// allOf are flags that must all be there.
    #[serde(default)]
    #[schemars(length(max = 32), inner(length(min = 1, max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub all_of: Vec<String>,
}

/// Arguments of a command. Where several fields are given, all must hold. In every pattern ? stands for one character, and a backslash takes a sign's meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("size(self.any) + size(self.anyPath) + size(self.lastPath) > 0").message("give any, anyPath or lastPath"))]
pub struct ArgumentMatch {
    /// any are arguments of which one is enough, whatever their case; * stands for any characters.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub any: Vec<String>,
    /// anyPath are paths of which one is enough: ** stands for any characters, * for any but the slash. /usr/../etc is /etc, the value of of=/dev/sda is a path, and a path that becomes / when a variable is empty is /.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub any_path: Vec<String>,
    /// lastPath are paths of which one is the last argument, or the value of -t: where cp, mv, ln and rsync write to.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub last_path: Vec<String>,
}

/// What makes a command harmless.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("size(self.flags) + size(self.args) > 0").message("give flags or args"))]
pub struct CommandExcept {
    /// flags of which one is enough, exactly as they are written here.
    #[serde(default)]
    #[schemars(length(max = 32), inner(length(min = 1, max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub flags: Vec<String>,
    /// args of which one is enough; * stands for any characters.
    #[serde(default)]
    #[schemars(length(max = 32), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub args: Vec<String>,
}

/// A statement of SQL by what it does.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum SqlStatement {
    // DROP DATABASE.
    DropDatabase,
    // DROP SCHEMA.
    DropSchema,
    // DROP TABLE.
    DropTable,
    // DROP USER or DROP ROLE.
    DropUser,
    // DROP of anything else.
    DropOther,
    // TRUNCATE.
    Truncate,
    // DELETE without a WHERE, or with one that is always true.
    DeleteAll,
    // UPDATE without a WHERE, or with one that is always true.
    UpdateAll,
    // ALTER TABLE that drops a column, a constraint or a partition.
    AlterDrop,
    // GRANT, and users or roles that are made or altered.
    Grant,
    // ALTER SYSTEM, SET GLOBAL, SHUTDOWN and their like.
    Server,
}

/// What several commands do together.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum CommandShape {
    // A function that starts itself twice.
    ForkBomb,
    // A program that is downloaded and run at once.
    DownloadedProgram,
    // A program that is decoded, decrypted or unpacked and run at once.
    DecodedProgram,
}

/// Observed state of a CommandPolicy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommandPolicyStatus {
    /// conditions: Ready is True when every rule can be used and every built-in rule that is named exists. Admitting is True when the API server asks about what PodExec and Workloads stand for, and absent where the policy applies to neither.
    #[serde(default)]
    #[schemars(schema_with = "super::schema::conditions")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// observedGeneration is the generation that this status speaks of; -1 until the operator has looked at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// rules is how many rules of its own the policy has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<i32>,
    /// builtInRules is how many built-in rules it uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_in_rules: Option<i32>,
}
