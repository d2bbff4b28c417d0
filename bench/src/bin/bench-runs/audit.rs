//! What the API server's audit log says of writes.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead as _, BufReader, Seek as _, SeekFrom},
    path::PathBuf,
};

use serde::Deserialize;

use crate::Result;

const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];
/// Questions that are put as objects and never stored.
const ASKING: [&str; 2] = ["authorization.k8s.io", "authentication.k8s.io"];

pub struct Audit(PathBuf);

#[derive(Deserialize)]
struct Entry {
    verb: String,
    user: User,
    #[serde(rename = "objectRef")]
    object: Option<Object>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Object {
    api_group: String,
    resource: String,
    subresource: String,
}

impl Audit {
    pub fn at(path: &str) -> Self {
        Self(path.into())
    }

    /// Where it ends now.
    pub fn end(&self) -> Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    /// Writes since then, which are told by kind, by those whose names begin so, whomever they acted as.
    pub fn writes(&self, since: u64, by: &[&str]) -> Result<usize> {
        let mut log = File::open(&self.0)?;
        log.seek(SeekFrom::Start(since))?;
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for line in BufReader::new(log).lines() {
            let entry: Entry = serde_json::from_str(&line?)?;
            let ours = by.iter().any(|name| entry.user.username.starts_with(name));
            let written = WRITES.contains(&entry.verb.as_str());
            let of = entry.object.unwrap_or_default();
            if ours && written && !ASKING.contains(&of.api_group.as_str()) {
                let kind = format!("{} {}/{}", entry.verb, of.resource, of.subresource);
                *kinds.entry(kind).or_default() += 1;
            }
        }
        let told = kinds
            .iter()
            .map(|(kind, count)| format!("{count} {}", kind.trim_end_matches('/')));
        println!("  {}", told.collect::<Vec<_>>().join(", "));
        Ok(kinds.values().sum())
    }
}
