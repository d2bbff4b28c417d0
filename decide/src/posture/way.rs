//! The ways around what Pilothouse guards, each with the rights that open it. `docs/how-to/posture.md` tells of them in the same order.

use crds::v1alpha1::CommandSeverity as Severity;

use super::rule::Access;

/// A way around.
#[derive(Debug)]
pub struct Way {
    pub id: &'static str,
    pub reach: Reach,
    /// How bad it is in one namespace; in the whole cluster, or in a namespace of its own parts, it is one worse.
    pub severity: Severity,
    pub around: &'static str,
    pub instead: &'static str,
    pub accesses: &'static [Access],
}

/// Which bindings open it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Those of the whole cluster: the objects have no namespace.
    Cluster,
    /// Those of a namespace too.
    Namespaces,
    /// Those of the whole cluster and of the release's namespace.
    Release,
}

const WRITE: &[&str] = &["create", "update", "patch", "delete", "deletecollection"];
/// Verbs that loosen something which only ever refuses.
const LOOSEN: &[&str] = &["update", "patch", "delete", "deletecollection"];
const CHANGE: &[&str] = &["update", "patch"];
/// Verbs that bring pods into being, or others in their place.
const MAKE: &[&str] = &["create", "update", "patch"];
const CONNECT: &[&str] = &["get", "create"];
const READ: &[&str] = &["get", "list", "watch"];
const CREATE: &[&str] = &["create"];
const IMPERSONATE: &[&str] = &["impersonate"];
const GRANT: &[&str] = &["bind", "escalate"];

const ADMISSION: &str = "admissionregistration.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";
const CERTIFICATES: &str = "certificates.k8s.io";
const AUTHENTICATION: &str = "authentication.k8s.io";
const HOUSE: &str = crds::names::GROUP;

const fn to(verbs: &'static [&'static str], group: &'static str, resource: &'static str) -> Access {
    Access {
        group,
        resource,
        verbs,
    }
}

/// The one that holds all others.
pub const EVERYTHING: &str = "everything";
/// The one whose harm Pod Security bounds.
pub const CREATE_PODS: &str = "create-pods";
/// The one that an admission policy of the chart closes.
pub const STATUS: &str = "status";

pub const WAYS: &[Way] = &[
    Way {
        id: EVERYTHING,
        reach: Reach::Namespaces,
        severity: Severity::High,
        around: "everything: all of the ways below are open, wherever it is bound",
        instead: "bind a role that names what is needed, and keep cluster-admin for an account that is used when all else fails",
        accesses: &[to(&["*"], "*", "*")],
    },
    Way {
        id: "nodes-proxy",
        reach: Reach::Cluster,
        severity: Severity::Critical,
        around: "the API server: the kubelet runs commands in every container of the node, without admission and without an audit of what is run; the verb get is enough",
        instead: "grant nodes/metrics, nodes/stats, nodes/log, nodes/pods or nodes/healthz, which monitoring needs; count what stays as root on every node",
        accesses: &[to(CONNECT, "", "nodes/proxy")],
    },
    Way {
        id: "pods-exec",
        reach: Reach::Namespaces,
        severity: Severity::High,
        around: "runs: commands without a plan, an Approval and a record; a CommandPolicy with applyTo PodExec judges the command line, and nobody sees what is typed afterwards",
        instead: "give people Jobs with exec steps, and have a ProtectionPolicy guard Exec where the right stays",
        accesses: &[to(CONNECT, "", "pods/exec")],
    },
    Way {
        id: "pods-attach",
        reach: Reach::Namespaces,
        severity: Severity::Medium,
        around: "runs: whoever attaches types into the process of a container; there is no command line that could be judged",
        instead: "have a ProtectionPolicy guard Attach, or take the right away; kubectl logs needs none",
        accesses: &[to(CONNECT, "", "pods/attach")],
    },
    Way {
        id: "pods-ephemeralcontainers",
        reach: Reach::Namespaces,
        severity: Severity::High,
        around: "runs: an image of one's own runs in a pod that is there, and may share its processes and files",
        instead: "have a ProtectionPolicy guard EphemeralContainers, or take the right away",
        accesses: &[to(CHANGE, "", "pods/ephemeralcontainers")],
    },
    Way {
        id: "pods-portforward",
        reach: Reach::Namespaces,
        severity: Severity::Medium,
        around: "NetworkPolicies and http steps: every port of a container is reached, those of databases and administration among them; what passes is not seen",
        instead: "have a ProtectionPolicy guard PortForward, or take the right away",
        accesses: &[to(CONNECT, "", "pods/portforward")],
    },
    Way {
        id: "pods-proxy",
        reach: Reach::Namespaces,
        severity: Severity::Low,
        around: "NetworkPolicies and http steps: HTTP ports of pods and Services are reached by way of the API server, and no policy of Pilothouse is asked",
        instead: "take pods/proxy and services/proxy out of the role; the built-in admin and edit have them",
        accesses: &[
            to(
                &["get", "create", "update", "patch", "delete"],
                "",
                "pods/proxy",
            ),
            to(
                &["get", "create", "update", "patch", "delete"],
                "",
                "services/proxy",
            ),
        ],
    },
    Way {
        id: CREATE_PODS,
        reach: Reach::Namespaces,
        severity: Severity::High,
        around: "runs: a pod of one's own runs any command with the Secrets, volumes and accounts of its namespace; where Pod Security allows it, it is root on a node",
        instead: "have the namespace enforce Pod Security restricted, and let a GitOps controller write workloads after a review",
        accesses: &[
            to(MAKE, "", "pods"),
            to(MAKE, "", "replicationcontrollers"),
            to(MAKE, "apps", "deployments"),
            to(MAKE, "apps", "replicasets"),
            to(MAKE, "apps", "statefulsets"),
            to(MAKE, "apps", "daemonsets"),
            to(CREATE, "batch", "jobs"),
            to(MAKE, "batch", "cronjobs"),
        ],
    },
    Way {
        id: "persistent-volumes",
        reach: Reach::Cluster,
        severity: Severity::High,
        around: "Pod Security: a volume of type hostPath is a folder of a node in any pod that claims it",
        instead: "let the provisioner of a StorageClass create volumes, and nobody else",
        accesses: &[to(CREATE, "", "persistentvolumes")],
    },
    Way {
        id: "namespace-labels",
        reach: Reach::Namespaces,
        severity: Severity::High,
        around: "what goes by labels of namespaces: Pod Security, and the policies that choose namespaces by label",
        instead: "have labels of namespaces changed in Git, and choose by kubernetes.io/metadata.name in policies that must not be left",
        accesses: &[to(CHANGE, "", "namespaces")],
    },
    Way {
        id: "admission-webhooks",
        reach: Reach::Cluster,
        severity: Severity::Critical,
        around: "admission: webhooks are switched off, or one of one's own rewrites what others apply",
        instead: "leave it to the installers of those webhooks, by resourceNames",
        accesses: &[
            to(WRITE, ADMISSION, "validatingwebhookconfigurations"),
            to(WRITE, ADMISSION, "mutatingwebhookconfigurations"),
        ],
    },
    Way {
        id: "admission-policies",
        reach: Reach::Cluster,
        severity: Severity::Critical,
        around: "admission: the policies of the chart, which stamp who asked and say who may, are changed or unbound",
        instead: "leave it to whoever installs the chart",
        accesses: &[
            to(LOOSEN, ADMISSION, "validatingadmissionpolicies"),
            to(LOOSEN, ADMISSION, "validatingadmissionpolicybindings"),
            to(WRITE, ADMISSION, "mutatingadmissionpolicies"),
            to(WRITE, ADMISSION, "mutatingadmissionpolicybindings"),
        ],
    },
    Way {
        id: "pilothouse-policies",
        reach: Reach::Cluster,
        severity: Severity::Critical,
        around: "CommandPolicies and ProtectionPolicies: what they hold or deny is let through",
        instead: "keep them in Git, and let a GitOps controller alone write them",
        accesses: &[
            to(LOOSEN, HOUSE, "commandpolicies"),
            to(LOOSEN, HOUSE, "protectionpolicies"),
        ],
    },
    Way {
        id: "calendars",
        reach: Reach::Namespaces,
        severity: Severity::Low,
        around: "ChangeCalendars: a freeze ends early, or never begins",
        instead: "keep the calendars that others depend on in a namespace of their own",
        accesses: &[to(LOOSEN, HOUSE, "changecalendars")],
    },
    Way {
        id: "kinds",
        reach: Reach::Cluster,
        severity: Severity::Critical,
        around: "the API: schemas lose their rules, every object of a kind is deleted with it, or another server answers for records",
        instead: "leave it to whoever installs the charts",
        accesses: &[
            to(LOOSEN, "apiextensions.k8s.io", "customresourcedefinitions"),
            to(LOOSEN, "apiregistration.k8s.io", "apiservices"),
        ],
    },
    Way {
        id: "impersonate-people",
        reach: Reach::Cluster,
        severity: Severity::Critical,
        around: "names: it acts as anybody, system:masters among them, and is stamped with their name",
        instead: "name the users and groups that may be acted as in resourceNames",
        accesses: &[
            to(IMPERSONATE, "", "users"),
            to(IMPERSONATE, "", "groups"),
            to(IMPERSONATE, AUTHENTICATION, "uids"),
        ],
    },
    Way {
        id: "impersonate-accounts",
        reach: Reach::Namespaces,
        severity: Severity::High,
        around: "runs: it does itself what a run's account may, without a plan and a record; as the operator's account it writes status and the plans of runs",
        instead: "name the accounts of runs in resourceNames; whoever asks for runs needs that much",
        accesses: &[to(IMPERSONATE, "", "serviceaccounts")],
    },
    Way {
        id: "grant-rights",
        reach: Reach::Namespaces,
        severity: Severity::High,
        around: "RBAC: it gives itself or others rights that it does not hold",
        instead: "grant the rights themselves: whoever holds them may hand them on without bind and escalate",
        accesses: &[to(GRANT, RBAC, "clusterroles"), to(GRANT, RBAC, "roles")],
    },
    Way {
        id: "secrets",
        reach: Reach::Namespaces,
        severity: Severity::Medium,
        around: "runs: it reads the credentials of hosts and the tokens of accounts, and works with them elsewhere; what list and watch answer holds the values",
        instead: "name the Secrets in resourceNames with get alone, or keep credentials in a namespace where only runs read",
        accesses: &[to(READ, "", "secrets")],
    },
    Way {
        id: "account-tokens",
        reach: Reach::Namespaces,
        severity: Severity::High,
        around: "runs: it makes a token of any account of the namespace, and acts as that account from anywhere",
        instead: "name the accounts in resourceNames",
        accesses: &[to(CREATE, "", "serviceaccounts/token")],
    },
    Way {
        id: "certificates",
        reach: Reach::Cluster,
        severity: Severity::Critical,
        around: "names: together with others of these rights it makes a client certificate for any user, which nobody can take back",
        instead: "leave it to the controllers of the cluster, by names of signers",
        accesses: &[
            to(CHANGE, CERTIFICATES, "certificatesigningrequests/approval"),
            to(CHANGE, CERTIFICATES, "certificatesigningrequests/status"),
            to(&["approve", "sign"], CERTIFICATES, "signers"),
        ],
    },
    Way {
        id: "approve",
        reach: Reach::Namespaces,
        severity: Severity::Low,
        around: "nothing by itself: its Approvals let begin what policies hold, everywhere that it is bound, except its own work",
        instead: "bind pilothouse-approver namespace by namespace, to the people who answer for it",
        accesses: &[
            to(&["approve"], HOUSE, "scripts"),
            to(&["approve"], HOUSE, "jobs"),
            to(&["approve"], HOUSE, "jobruns"),
        ],
    },
    Way {
        id: STATUS,
        reach: Reach::Namespaces,
        severity: Severity::Low,
        around: "nothing while policy pilothouse-status is in force; without it, what the operator and people read of a run is made up",
        instead: "take the status subresources of pilothouse.dev out of the role",
        accesses: &[
            to(CHANGE, HOUSE, "jobruns/status"),
            to(CHANGE, HOUSE, "scripts/status"),
            to(CHANGE, HOUSE, "jobs/status"),
            to(CHANGE, HOUSE, "hosts/status"),
            to(CHANGE, HOUSE, "parameters/status"),
            to(CHANGE, HOUSE, "runactions/status"),
            to(CHANGE, HOUSE, "scheduledtasks/status"),
            to(CHANGE, HOUSE, "changecalendars/status"),
            to(CHANGE, HOUSE, "changesolutions/status"),
            to(CHANGE, HOUSE, "approvals/status"),
            to(CHANGE, HOUSE, "breakglasses/status"),
            to(CHANGE, HOUSE, "commandpolicies/status"),
            to(CHANGE, HOUSE, "protectionpolicies/status"),
        ],
    },
    Way {
        id: "release-namespace",
        reach: Reach::Release,
        severity: Severity::Critical,
        around: "Pilothouse itself: its programs, certificates and accounts are exchanged, or its operator is stopped",
        instead: "let nobody write there but whoever installs the chart; bind roles in namespaces, not in the whole cluster",
        accesses: &[
            to(WRITE, "apps", "deployments"),
            to(WRITE, "apps", "statefulsets"),
            to(WRITE, "", "pods"),
            to(WRITE, "", "secrets"),
            to(WRITE, "", "configmaps"),
            to(WRITE, "", "services"),
            to(WRITE, "", "serviceaccounts"),
            to(WRITE, "coordination.k8s.io", "leases"),
        ],
    },
];
