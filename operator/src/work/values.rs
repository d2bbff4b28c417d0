//! The values of a task: templates rendered from the plan, secrets read as the run's account and checked to be the ones that were planned with.

use std::collections::BTreeMap;

use decide::{plan::Value, template};
use kube::ResourceExt as _;
use secrecy::SecretString;

use super::{Outcome, Work};

/// The environment of a task, and what must not show in its output.
#[derive(Default)]
pub struct Values {
    pub env: BTreeMap<String, String>,
    pub mask: Vec<SecretString>,
}

impl Work {
    /// The text of a template on this target.
    pub fn render(&self, field: &str, text: &str) -> Result<String, Outcome> {
        let run = template::Run {
            name: &self.run.name,
            namespace: &self.run.namespace,
        };
        let field = format!("steps.{}.{field}", self.step().name);
        Ok(self.run.plan.render(run, self.task, &field, text)?)
    }

    pub fn render_all(&self, field: &str, texts: &[String]) -> Result<Vec<String>, Outcome> {
        texts.iter().map(|text| self.render(field, text)).collect()
    }

    /// Rendered values and secrets.
    pub async fn values(&self, env: &BTreeMap<String, Value>) -> Result<Values, Outcome> {
        let mut values = Values::default();
        for (name, value) in env {
            let text = match value {
                Value::Text(text) => self.render(&format!("env.{name}"), text)?,
                Value::Secret(parameter) => {
                    let secret = self.secret(parameter).await?;
                    values.mask.push(SecretString::from(secret.as_str()));
                    secret
                }
            };
            values.env.insert(name.clone(), text);
        }
        Ok(values)
    }

    /// The value of a secret parameter. A Secret that changed since the plan was frozen fails what is left.
    async fn secret(&self, parameter: &str) -> Result<String, Outcome> {
        let source = self.run.plan.secrets.get(parameter).ok_or_else(|| {
            Outcome::undeliverable(
                "MissingSecret",
                format!("the plan has no source for parameter {parameter}"),
            )
        })?;
        let field = format!("spec.secretParameters.{parameter}");
        let secret = self.resolver()?.secret(&source.name, &field).await?;
        if secret.uid().as_deref() != Some(&source.uid)
            || secret.resource_version().as_deref() != Some(&source.resource_version)
        {
            return Err(Outcome::undeliverable(
                "ParameterChanged",
                format!(
                    "{field}: Secret {} has changed since the run was planned; create the run anew",
                    source.name
                ),
            ));
        }
        let bytes = secret
            .data
            .and_then(|mut d| d.remove(&source.key))
            .unwrap_or_default()
            .0;
        String::from_utf8(bytes).map_err(|_| {
            Outcome::undeliverable("BadSecret", format!("{field}: the value is not text"))
        })
    }
}
