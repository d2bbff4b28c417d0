//! The Pod of a step: restricted profile, a name that its effect key decides, and a finalizer that keeps its result.

use std::{collections::BTreeMap, time::Duration};

use crds::{
    journal::GRACE_SECONDS,
    key::EffectKey,
    names::{
        ANNOTATION_EFFECT, FINALIZER_RESULT, GROUP, LABEL_RUN, LABEL_RUN_UID, LABEL_STEP, label,
    },
    v1alpha1::Resources,
};
use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, EnvVar, EnvVarSource, Pod, PodSecurityContext, PodSpec,
        ResourceRequirements, SeccompProfile, SecretKeySelector, SecurityContext,
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{ObjectMeta, OwnerReference},
    },
};

/// Name of the container that does the work.
pub(super) const CONTAINER: &str = "step";

const NAME_MOST: usize = 63;
const DIGEST_DIGITS: usize = 10;

/// A step to be done by a pod of its own, everything resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepPod {
    /// Namespace of the run.
    pub namespace: String,
    /// Name of the JobRun, which owns the pod; its UID is `key.run`.
    pub run: String,
    /// Identity of the effect.
    pub key: EffectKey,
    /// The run's account. The pod carries its name and gets no token.
    pub service_account: String,
    /// Image of the container.
    pub image: String,
    /// In place of the image's entrypoint, literally: `$(NAME)` is not expanded.
    pub command: Vec<String>,
    /// Arguments, literally.
    pub args: Vec<String>,
    /// Environment, literally.
    pub env: BTreeMap<String, EnvValue>,
    /// Requests and limits.
    pub resources: Resources,
    /// Numeric user.
    pub run_as_user: i64,
    /// How long the container may take to start.
    pub delivery: Duration,
    /// How long it may run.
    pub execution: Duration,
}

/// Where the value of an environment variable comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvValue {
    /// It stands in the Pod, for everyone to read.
    Plain(String),
    /// The kubelet reads it from a Secret of the namespace.
    Secret { name: String, key: String },
}

impl StepPod {
    /// `<run>-<step>-<10 digits of the key's digest>`, its beginning cut to fit into 63 characters.
    pub fn name(&self) -> String {
        let digest = self.key.digest();
        let mut name = format!("{}-{}", self.run, self.key.step).replace('.', "-");
        name.truncate(NAME_MOST - 1 - DIGEST_DIGITS);
        format!(
            "{}-{}",
            name.trim_end_matches('-'),
            &digest[..DIGEST_DIGITS]
        )
    }

    /// The Pod as it is created.
    pub fn manifest(&self) -> Pod {
        Pod {
            metadata: self.metadata(),
            spec: Some(self.spec()),
            status: None,
        }
    }

    fn metadata(&self) -> ObjectMeta {
        let labels = [
            (LABEL_RUN, label(&self.run)),
            (LABEL_RUN_UID, self.key.run.clone()),
            (LABEL_STEP, label(&self.key.step)),
        ];
        ObjectMeta {
            name: Some(self.name()),
            namespace: Some(self.namespace.clone()),
            labels: Some(labels.map(|(name, value)| (name.to_owned(), value)).into()),
            annotations: Some([(ANNOTATION_EFFECT.to_owned(), self.key.digest())].into()),
            finalizers: Some(vec![FINALIZER_RESULT.to_owned()]),
            owner_references: Some(vec![OwnerReference {
                api_version: format!("{GROUP}/v1alpha1"),
                kind: "JobRun".to_owned(),
                name: self.run.clone(),
                uid: self.key.run.clone(),
                // Blocking the owner's deletion would take a right on JobRuns that the account need not have.
                block_owner_deletion: None,
                controller: Some(true),
            }]),
            ..ObjectMeta::default()
        }
    }

    fn spec(&self) -> PodSpec {
        // The kubelet counts from the pod's arrival at the node, images pulled included; the exact end is kept by whoever follows the pod.
        let deadline = (self.delivery + self.execution).as_secs() + 1;
        PodSpec {
            containers: vec![self.container()],
            restart_policy: Some("Never".to_owned()),
            active_deadline_seconds: Some(i64::try_from(deadline).unwrap_or(i64::MAX)),
            termination_grace_period_seconds: Some(i64::from(GRACE_SECONDS)),
            service_account_name: Some(self.service_account.clone()),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(self.run_as_user),
                seccomp_profile: Some(runtime_default()),
                ..PodSecurityContext::default()
            }),
            ..PodSpec::default()
        }
    }

    fn container(&self) -> Container {
        Container {
            name: CONTAINER.to_owned(),
            image: Some(self.image.clone()),
            command: words(&self.command),
            args: words(&self.args),
            env: Some(
                self.env
                    .iter()
                    .map(|(name, value)| variable(name, value))
                    .collect(),
            ),
            resources: Some(ResourceRequirements {
                requests: quantities(&self.resources.requests),
                limits: quantities(&self.resources.limits),
                ..ResourceRequirements::default()
            }),
            security_context: Some(SecurityContext {
                allow_privilege_escalation: Some(false),
                capabilities: Some(Capabilities {
                    drop: Some(vec!["ALL".to_owned()]),
                    add: None,
                }),
                run_as_non_root: Some(true),
                run_as_user: Some(self.run_as_user),
                seccomp_profile: Some(runtime_default()),
                ..SecurityContext::default()
            }),
            ..Container::default()
        }
    }
}

fn runtime_default() -> SeccompProfile {
    SeccompProfile {
        type_: "RuntimeDefault".to_owned(),
        localhost_profile: None,
    }
}

fn words(list: &[String]) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| list.iter().map(|word| literal(word)).collect())
}

fn variable(name: &str, value: &EnvValue) -> EnvVar {
    let (value, value_from) = match value {
        EnvValue::Plain(value) => (Some(literal(value)), None),
        EnvValue::Secret { name, key } => {
            let secret = SecretKeySelector {
                name: name.clone(),
                key: key.clone(),
                optional: None,
            };
            (
                None,
                Some(EnvVarSource {
                    secret_key_ref: Some(secret),
                    ..EnvVarSource::default()
                }),
            )
        }
    };
    EnvVar {
        name: name.to_owned(),
        value,
        value_from,
    }
}

/// Kept from the kubelet's expansion of `$(NAME)`: a parameter could else put a Secret's value into the arguments.
fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

fn quantities(map: &BTreeMap<String, String>) -> Option<BTreeMap<String, Quantity>> {
    let quantity = |(name, value): (&String, &String)| (name.clone(), Quantity(value.clone()));
    (!map.is_empty()).then(|| map.iter().map(quantity).collect())
}

#[cfg(test)]
pub(super) mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::{EnvValue, StepPod};
    use crds::{key::EffectKey, v1alpha1::Resources};
    use serde_json::{Value, json};

    pub(in crate::pod) fn step() -> StepPod {
        StepPod {
            namespace: "shop".into(),
            run: "nightly.7".into(),
            key: EffectKey {
                attempt: 1,
                cluster: "c".into(),
                plan: "p".into(),
                run: "run-uid".into(),
                step: "backup".into(),
                target: String::new(),
            },
            service_account: "runner".into(),
            image: "local/tool:1".into(),
            command: vec!["/tool".into(), "$(TOKEN) $5".into()],
            args: Vec::new(),
            env: BTreeMap::from([
                ("DAY".into(), EnvValue::Plain("$(TOKEN)".into())),
                (
                    "TOKEN".into(),
                    EnvValue::Secret {
                        name: "s".into(),
                        key: "k".into(),
                    },
                ),
            ]),
            resources: Resources::default(),
            run_as_user: 1000,
            delivery: Duration::from_mins(2),
            execution: Duration::from_mins(10),
        }
    }

    fn json() -> Value {
        serde_json::to_value(step().manifest()).expect("json")
    }

    #[test]
    fn the_name_is_the_same_for_the_same_key_and_fits() {
        let mut step = step();
        let name = step.name();
        assert_eq!(
            name,
            format!("nightly-7-backup-{}", &step.key.digest()[..10])
        );
        step.key.attempt = 2;
        assert_ne!(step.name(), name);
        for length in 40..253 {
            step.run = format!("{}.{}", "r".repeat(length), "s".repeat(10));
            let name = step.name();
            assert!(
                name.len() <= 63 && !name.contains("--") && !name.contains('.'),
                "{name}"
            );
            let labels = step.manifest().metadata.labels.expect("labels");
            assert!(
                labels
                    .values()
                    .all(|value| value.len() <= 63 && !value.ends_with('.'))
            );
        }
    }

    #[test]
    fn the_pod_passes_the_restricted_profile() {
        let pod = json();
        let container = &pod["spec"]["containers"][0]["securityContext"];
        assert_eq!(container["allowPrivilegeEscalation"], false);
        assert_eq!(container["capabilities"], json!({"drop": ["ALL"]}));
        for context in [container, &pod["spec"]["securityContext"]] {
            assert_eq!(context["runAsNonRoot"], true);
            assert_eq!(context["runAsUser"], 1000);
            assert_eq!(context["seccompProfile"], json!({"type": "RuntimeDefault"}));
        }
        assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
        assert_eq!(pod["spec"]["restartPolicy"], "Never");
        assert_eq!(pod["spec"]["activeDeadlineSeconds"], 721);
    }

    #[test]
    fn nothing_a_user_wrote_is_expanded() {
        let container = &json()["spec"]["containers"][0];
        assert_eq!(container["command"], json!(["/tool", "$$(TOKEN) $$5"]));
        let secret =
            json!({"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}});
        assert_eq!(
            container["env"],
            json!([{"name": "DAY", "value": "$$(TOKEN)"}, secret])
        );
    }

    #[test]
    fn the_pod_belongs_to_its_run_and_keeps_its_result() {
        let metadata = &json()["metadata"];
        assert_eq!(metadata["finalizers"], json!(["pilothouse.dev/result"]));
        assert_eq!(
            metadata["annotations"]["pilothouse.dev/effect"],
            step().key.digest()
        );
        let owner = &metadata["ownerReferences"][0];
        assert_eq!(
            (&owner["kind"], &owner["uid"]),
            (&json!("JobRun"), &json!("run-uid"))
        );
        assert_eq!(owner.get("blockOwnerDeletion"), None);
        assert_eq!(metadata["labels"]["pilothouse.dev/run-uid"], "run-uid");
    }
}
