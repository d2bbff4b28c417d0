//! Which namespaces an installation serves, as its operator was told.

use k8s_openapi::api::apps::v1::Deployment;

/// Namespaces by name, or all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope(Vec<String>);

impl Scope {
    pub fn of(operator: &Deployment) -> Self {
        let pod = operator.spec.iter().flat_map(|d| &d.template.spec);
        let containers = pod.flat_map(|pod| &pod.containers);
        let mut args = containers.flat_map(|c| c.args.iter().flatten());
        let named = args.find_map(|arg| arg.strip_prefix("--namespaces="));
        Self(named.map_or_else(Vec::new, |names| names.split(',').map(Into::into).collect()))
    }

    pub fn named(&self) -> Option<&[String]> {
        Some(self.0.as_slice()).filter(|names| !names.is_empty())
    }

    pub fn holds(&self, namespace: &str) -> bool {
        self.named()
            .is_none_or(|names| names.iter().any(|name| name == namespace))
    }

    /// The flag of `kubectl create rolebinding` that names one of our roles.
    pub fn role_flag(&self) -> &'static str {
        match self.named() {
            Some(_) => "--role",
            None => "--clusterrole",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Scope;

    #[test]
    fn the_operator_serves_what_it_was_told_or_everything() {
        let told = |args: serde_json::Value| {
            let pod = json!({"spec": {"containers": [{"name": "operator", "args": args}]}});
            let spec = json!({"selector": {}, "template": pod});
            let operator = json!({"metadata": {}, "spec": spec});
            Scope::of(&serde_json::from_value(operator).expect("a Deployment"))
        };
        let scoped = told(json!(["--namespace=system", "--namespaces=shop,web"]));
        assert!(scoped.holds("web") && !scoped.holds("system"));
        let whole = told(json!(["--namespace=system"]));
        assert!(whole.holds("anything"));
        assert_eq!(
            (scoped.role_flag(), whole.role_flag()),
            ("--role", "--clusterrole")
        );
    }
}
