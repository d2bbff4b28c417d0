//! The values of a task: templates rendered from the plan, secrets read as the run's account and checked to be the ones that were planned with.

use std::collections::BTreeMap;

use crds::v1alpha1::{DeclaredParameter, SecretKeyRef};
use decide::{
    condition::{self, Conditions},
    parameters,
    plan::Value,
    template,
};
use kube::ResourceExt as _;
use secrecy::SecretString;

use super::{Outcome, Work};

/// The environment of a task, and what must not show in its output.
#[derive(Default)]
pub struct Values {
    pub env: BTreeMap<String, String>,
    /// Where those that are secret are kept.
    pub places: BTreeMap<String, SecretKeyRef>,
    pub mask: Vec<SecretString>,
}

impl Work {
    /// The text of a template on this target.
    pub fn render(&self, field: &str, text: &str) -> Result<String, Outcome> {
        let run = self.run.as_named();
        let field = format!("steps.{}.{field}", self.step().name);
        let scope = self.run.plan.scope(run, self.task, &self.outputs);
        Ok(template::render(&field, text, &scope)?)
    }

    /// Whether the step's `when` holds. A condition that is false has left the task out before; here it is asked for what is wrong with it.
    pub fn admitted(&self) -> Result<(), Outcome> {
        let Some(when) = &self.step().when else {
            return Ok(());
        };
        let field = format!("steps.{}.when", self.step().name);
        let scope = self
            .run
            .plan
            .scope(self.run.as_named(), self.task, &self.outputs);
        let holds = condition::with_room(|| Conditions::default().holds(&field, when, &scope));
        holds.transpose()?;
        Ok(())
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
                Value::Secret(_) | Value::Output(_) => {
                    let (place, secret) = self.hidden(value).await?;
                    values.mask.push(SecretString::from(secret.as_str()));
                    values.places.insert(name.clone(), place);
                    secret
                }
            };
            values.env.insert(name.clone(), text);
        }
        Ok(values)
    }

    /// Refuses values that are not what their parameters were declared to be; those that depend on outputs are known only now.
    pub fn acceptable(
        &self,
        declared: &[DeclaredParameter],
        values: &Values,
    ) -> Result<(), Outcome> {
        for parameter in declared {
            if let Some(value) = values.env.get(&parameter.name) {
                let field = format!(
                    "steps.{}.script.parameters.{}",
                    self.step().name,
                    parameter.name
                );
                parameters::accepts(&field, parameter, value)?;
            }
        }
        Ok(())
    }

    /// Where a value is kept that is not to be seen, and the value.
    pub async fn hidden(&self, value: &Value) -> Result<(SecretKeyRef, String), Outcome> {
        match value {
            Value::Output(output) => self.handed(output).await,
            Value::Secret(parameter) => self.secret(parameter).await,
            Value::Text(_) => unreachable!("a text is in plain sight"),
        }
    }

    /// The value of a secret parameter, and where it is. A Secret that changed since the plan was frozen fails what is left.
    async fn secret(&self, parameter: &str) -> Result<(SecretKeyRef, String), Outcome> {
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
        let value = String::from_utf8(bytes).map_err(|_| {
            Outcome::undeliverable("BadSecret", format!("{field}: the value is not text"))
        })?;
        let place = SecretKeyRef {
            name: source.name.clone(),
            key: source.key.clone(),
            uid: Some(source.uid.clone()),
        };
        Ok((place, value))
    }
}
