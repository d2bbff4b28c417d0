//! A file on a host: its content is read as the run's account when it is put there, and has to be what was planned with.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use crds::v1alpha1::{FileStep, Interpreter};
use decide::{
    file::{self, Held},
    plan::FileSource,
};
use sha2::{Digest as _, Sha256};

use super::{Outcome, Work, host::Ready, values::Values};

/// The script that puts the file there, with all that it is told.
pub async fn ready(
    work: &Work,
    step: &FileStep,
    source: Option<&FileSource>,
) -> Result<Ready, Outcome> {
    let path = work.render("file.path", &step.path)?;
    let env = if let Some(url) = &step.url {
        let held = Held::There {
            url: work.render("file.url.from", &url.from)?,
            sha256: url.sha256.clone(),
            most: url.max_bytes,
        };
        file::environment(step, path, held)
    } else {
        let content = content(work, step, source).await?;
        let held = Held::Here {
            base64: &BASE64_STANDARD.encode(&content),
            sha256: hex::encode(Sha256::digest(&content)),
        };
        file::environment(step, path, held)
    };
    Ok(Ready {
        interpreter: Interpreter::Shell,
        content: file::SCRIPT.to_owned(),
        values: Values {
            env,
            ..Values::default()
        },
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
