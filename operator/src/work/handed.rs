//! What a step hands on: plain values in its row, sensitive ones in a Secret that belongs to the run and that only its account has to do with.

use std::collections::BTreeMap;

use crds::{
    execution::State,
    names::{LABEL_RUN, LABEL_RUN_UID, LABEL_STEP, label},
    v1alpha1::{JobRun, Output, SecretKeyRef},
};
use decide::{Refusal, outputs, plan::Task};
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    Api, Resource as _, ResourceExt as _,
    api::{ObjectMeta, PostParams},
};
use tokio::time::Instant;

use super::{
    Outcome, REST, Work,
    outcome::{FORBIDDEN, LOOK_UP_FAILED},
};
use crate::error::chain;

/// Type of a Secret that holds outputs.
const TYPE: &str = "pilothouse.dev/outputs";

impl Work {
    /// The outcome with what was handed on, or a failure where that is not what was declared or cannot be kept.
    pub(super) async fn handing_on(
        &self,
        outcome: Outcome,
        given: BTreeMap<String, String>,
    ) -> Outcome {
        let declared = &self.step().outputs;
        if outcome.state != State::Succeeded || declared.is_empty() {
            return outcome;
        }
        let kept = match outputs::accept(declared, given) {
            Ok(accepted) => self.kept(accepted).await,
            Err(refusal) => Err(refusal),
        };
        match kept {
            Ok((outputs, secret_uid)) => Outcome {
                outputs,
                secret_uid,
                ..outcome
            },
            Err(refusal) => Outcome {
                state: State::Failed,
                reason: refusal.reason.to_owned(),
                message: refusal.message,
                ..outcome
            },
        }
    }

    /// The plain values, and the UID of the Secret that the others are in then.
    async fn kept(
        &self,
        accepted: BTreeMap<String, String>,
    ) -> Result<(BTreeMap<String, String>, Option<String>), Refusal> {
        let declared = &self.step().outputs;
        let (sensitive, plain): (BTreeMap<_, _>, BTreeMap<_, _>) =
            accepted.into_iter().partition(|(name, _)| {
                let mut all = declared.iter();
                all.any(|output| output.sensitive && output.name == *name)
            });
        let secret = if sensitive.is_empty() {
            None
        } else {
            Some(self.keep(sensitive).await?)
        };
        Ok((plain, secret))
    }

    /// Creates the Secret of this attempt, unless it is there, and returns its UID; asked until the API server answers.
    async fn keep(&self, values: BTreeMap<String, String>) -> Result<String, Refusal> {
        let (wanted, began) = (self.secret_of_outputs(values), Instant::now());
        loop {
            let why = match self.create(&wanted).await {
                Ok(uid) => return Ok(uid),
                Err(outcome) => outcome,
            };
            if !why.is_passing(began.elapsed()) {
                let message = format!(
                    "the sensitive outputs cannot be kept: the account {} has to create Secret {}: {}",
                    self.run.plan.account,
                    wanted.name_any(),
                    why.message
                );
                return Err(Refusal::new(FORBIDDEN, message));
            }
            tokio::time::sleep(REST).await;
        }
    }

    async fn create(&self, wanted: &Secret) -> Result<String, Outcome> {
        let client = self.resolver()?.client;
        let api: Api<Secret> = Api::namespaced(client, &self.run.namespace);
        match api.create(&PostParams::default(), wanted).await {
            Ok(created) => Ok(created.uid().unwrap_or_default()),
            Err(kube::Error::Api(status)) => match status.code {
                409 => self.is_there(wanted).await,
                429 | 500.. => Err(Outcome::undeliverable(LOOK_UP_FAILED, status.message)),
                _ => Err(Outcome::undeliverable(FORBIDDEN, status.message)),
            },
            Err(error) => Err(Outcome::undeliverable(LOOK_UP_FAILED, chain(&error))),
        }
    }

    /// An earlier leader created it; one that holds anything else, or can be made to, is somebody else's, whomever it names as its owner.
    async fn is_there(&self, wanted: &Secret) -> Result<String, Outcome> {
        let field = format!("steps.{}.outputs", self.step().name);
        let there = self.resolver()?.secret(&wanted.name_any(), &field).await?;
        let uid = there.uid().unwrap_or_default();
        let held = there.data.unwrap_or_default().into_iter();
        let held: BTreeMap<_, _> = held.map(|(key, bytes)| (key, bytes.0)).collect();
        let values = wanted.string_data.iter().flatten();
        let values = values.map(|(key, text)| (key.clone(), text.clone().into_bytes()));
        if there.immutable == wanted.immutable && held == values.collect() {
            return Ok(uid);
        }
        Err(Outcome::undeliverable(
            FORBIDDEN,
            "another one of that name is there; delete it, and retry",
        ))
    }

    fn secret_of_outputs(&self, values: BTreeMap<String, String>) -> Secret {
        let (run, step) = (&self.run, &self.step().name);
        let labels = [
            (LABEL_RUN, label(&run.name)),
            (LABEL_RUN_UID, run.uid.clone()),
            (LABEL_STEP, label(step)),
        ];
        let owner = OwnerReference {
            api_version: JobRun::api_version(&()).into_owned(),
            kind: JobRun::kind(&()).into_owned(),
            name: run.name.clone(),
            uid: run.uid.clone(),
            ..OwnerReference::default()
        };
        Secret {
            metadata: ObjectMeta {
                name: Some(self.secret_name(self.task, self.row.attempt)),
                labels: Some(labels.map(|(k, v)| (k.to_owned(), v)).into()),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            type_: Some(TYPE.to_owned()),
            immutable: Some(true),
            string_data: Some(values),
            ..Secret::default()
        }
    }

    /// A name that only this attempt of the run has.
    fn secret_name(&self, task: Task, attempt: i32) -> String {
        let key = self.run.key(task, attempt);
        outputs::object_name(&self.run.name, &key.step, &key.digest())
    }

    /// Where a sensitive output of a step before is, and its value. The Secret is the one that was written down with the end of that step.
    pub async fn handed(&self, output: &str) -> Result<(SecretKeyRef, String), Outcome> {
        let (run, step) = (&self.run, &self.step().name);
        let ledger = self.ctx.memory.ledgers.read(&run.uid);
        let giver = ledger.giver(&run.plan, self.task, output);
        let field = format!("steps.{step}: outputs.{output}");
        let (task, attempt) = giver.ok_or_else(|| {
            let message = format!("{field} was not given: the step that declares it was left out");
            Outcome::undeliverable("MissingOutput", message)
        })?;
        let row = self
            .ctx
            .memory
            .ledgers
            .row(&run.uid, &run.key(task, attempt).digest());
        let uid = row.and_then(|row| row.secret_uid).ok_or_else(|| {
            let message = format!("{field}: nobody has written down which Secret holds it");
            Outcome::undeliverable("MissingOutput", message)
        })?;
        let place = SecretKeyRef {
            name: self.secret_name(task, attempt),
            key: output.to_owned(),
            uid: Some(uid),
        };
        let secret = self.resolver()?.meant(&place, &field).await?;
        let bytes = secret.data.and_then(|mut data| data.remove(output));
        let value = bytes.and_then(|bytes| String::from_utf8(bytes.0).ok());
        value.map(|value| (place, value)).ok_or_else(|| {
            Outcome::undeliverable("BadOutput", format!("{field} is not in its Secret"))
        })
    }

    /// Names of outputs that are not to be seen.
    pub(super) fn veiled(&self) -> Vec<String> {
        let sensitive = |output: &&Output| output.sensitive;
        let all = self.step().outputs.iter().filter(sensitive);
        all.map(|output| output.name.clone()).collect()
    }
}
