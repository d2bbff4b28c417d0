//! A file on a host: its content is read as the run's account when it is put there, and has to be what was planned with.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use crds::v1alpha1::{FileOci, FileStep, Interpreter};
use decide::{
    file::{self, Held},
    plan::FileSource,
};
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};

use super::{Outcome, Work, host::Ready, values::Values};

/// Where a Secret keeps logins for registries.
const KEY: &str = ".dockerconfigjson";

/// The script that puts the file there, with all that it is told.
pub async fn ready(
    work: &Work,
    step: &FileStep,
    source: Option<&FileSource>,
) -> Result<Ready, Outcome> {
    let path = work.render("file.path", &step.path)?;
    let mut values = Values::default();
    let env = if let Some(oci) = &step.oci {
        let repository = work.render("file.oci.repository", &oci.repository)?;
        let (url, registry) = file::blob(&work.step().name, oci, &repository)?;
        let login = login(work, oci, &registry).await?;
        let password = login.split_once(':').map(|(_, password)| password);
        values.mask.extend(password.map(SecretString::from));
        let held = Held {
            url,
            sha256: oci.sha256.clone(),
            most: oci.max_bytes,
            login: Some(login),
            ..Held::default()
        };
        file::environment(step, path, held)
    } else if let Some(url) = &step.url {
        let held = Held {
            url: work.render("file.url.from", &url.from)?,
            sha256: url.sha256.clone(),
            most: url.max_bytes,
            ..Held::default()
        };
        file::environment(step, path, held)
    } else {
        let content = content(work, step, source).await?;
        let held = Held {
            base64: &BASE64_STANDARD.encode(&content),
            sha256: hex::encode(Sha256::digest(&content)),
            ..Held::default()
        };
        file::environment(step, path, held)
    };
    Ok(Ready {
        interpreter: Interpreter::Shell,
        content: file::SCRIPT.to_owned(),
        values: Values { env, ..values },
    })
}

/// User and password for a registry; empty where none are given.
async fn login(work: &Work, oci: &FileOci, registry: &str) -> Result<String, Outcome> {
    let Some(name) = &oci.pull_secret else {
        return Ok(String::new());
    };
    let field = format!("steps.{}.file.oci.pullSecret", work.step().name);
    let secret = work.resolver()?.secret(name, &field).await?;
    let config = secret.data.and_then(|mut data| data.remove(KEY));
    let login = config.and_then(|config| file::login(&config.0, registry));
    login.ok_or_else(|| {
        let message = format!("{field}: Secret {name} has no login for {registry} under {KEY}; add it, as kubectl create secret docker-registry does");
        Outcome::undeliverable("NoLogin", message)
    })
}

async fn content(
    work: &Work,
    step: &FileStep,
    source: Option<&FileSource>,
) -> Result<Vec<u8>, Outcome> {
    if let Some(content) = &step.content {
        return Ok(work.render("file.content", content)?.into_bytes());
    }
    let found = work.resolver()?.file(&work.step().name, step).await?;
    let same = found.filter(|(found, _)| source == Some(found));
    let changed = || {
        let message = format!(
            "steps.{}.file: the object that holds it has changed since the run was planned; create the run anew",
            work.step().name
        );
        Outcome::undeliverable("FileChanged", message)
    };
    same.map(|(_, content)| content).ok_or_else(changed)
}
