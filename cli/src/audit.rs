//! The audit, verified here and not where it is kept: every entry and every checkpoint is read as the caller may read them, and held against each other, against keys, and against checkpoints that were kept elsewhere.

use std::{fs, path::Path};

use crds::audit::{Checkpoint, Link};
use decide::chain::{Flaw, Origin, Verdict, Verifier};
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DynamicObject, ListParams},
    core::GroupVersionKind,
};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    args::{AuditCommand, VerifyArgs},
    cluster::Cluster,
    error::{Error, Result, doing},
    output::{self, Format},
};

/// Exit code where something is wrong with it.
const UNSOUND: u8 = 1;
/// Objects that one request asks for.
const PAGE: u32 = 500;

/// A checkpoint as it is served, and the key that the store signs with as it is served.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Served {
    checkpoint: Checkpoint,
    public_key: String,
}

/// Checkpoints in a file.
#[derive(Deserialize)]
struct Kept {
    items: Vec<Served>,
}

/// What was found.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    sound: bool,
    entries: u64,
    first: i64,
    last: i64,
    checkpoints: u64,
    unsigned: i64,
    keys: Vec<String>,
    flaws: Vec<String>,
    more_flaws: u64,
}

pub async fn audit(cluster: &Cluster, asked: &AuditCommand, format: Option<Format>) -> Result<u8> {
    let AuditCommand::Verify(asked) = asked;
    let answer = verify(cluster, asked).await?;
    output::result(&answer, format, "audit", |_| answer.page())?;
    Ok(if answer.sound { 0 } else { UNSOUND })
}

async fn verify(cluster: &Cluster, asked: &VerifyArgs) -> Result<Answer> {
    let kept = asked.from.as_deref().map(read).transpose()?;
    let kept = kept.unwrap_or_default();
    // Before the entries: what is committed meanwhile is behind all of them.
    let mut served: Vec<Served> = Vec::new();
    each(cluster, ["AuditCheckpoint", "auditcheckpoints"], |object| {
        served.push(parsed(object)?);
        Ok(())
    })
    .await?;
    let keys = keys(&asked.key, &kept, &served);
    let of = |all: Vec<Served>, origin| all.into_iter().map(move |one| (one.checkpoint, origin));
    let checkpoints: Vec<_> = of(served, Origin::Store)
        .chain(of(kept, Origin::Kept))
        .collect();
    let mut verifier = Verifier::new(&checkpoints, |checkpoint| is_signed(checkpoint, &keys));
    each(cluster, ["AuditEntry", "auditentries"], |object| {
        verifier.take(&link(object)?);
        Ok(())
    })
    .await?;
    Ok(Answer::of(&verifier.finish(), keys))
}

/// Whom to trust: the keys that the caller knows, from a file or by name; the one that the store shows, where they know none.
fn keys(named: &[String], kept: &[Served], served: &[Served]) -> Vec<String> {
    let known = named.iter().chain(kept.iter().map(|one| &one.public_key));
    let mut keys: Vec<String> = known.cloned().collect();
    if keys.is_empty() {
        keys.extend(served.iter().map(|one| one.public_key.clone()));
    }
    keys.retain(|key| !key.is_empty());
    keys.sort();
    keys.dedup();
    keys
}

fn is_signed(checkpoint: &Checkpoint, keys: &[String]) -> bool {
    let Ok(signature) = hex::decode(&checkpoint.signature) else {
        return false;
    };
    let signed = Checkpoint::signed(&checkpoint.head(), checkpoint.at);
    let mut keys = keys.iter().filter_map(|key| hex::decode(key).ok());
    keys.any(|key| {
        let key = UnparsedPublicKey::new(&ED25519, key);
        key.verify(signed.as_bytes(), &signature).is_ok()
    })
}

fn read(path: &Path) -> Result<Vec<Served>> {
    let shown = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|source| Error::Read {
        path: shown.clone(),
        source,
    })?;
    let kept: Kept = serde_json::from_str(&text).map_err(|source| Error::NoCheckpoints {
        path: shown,
        source,
    })?;
    Ok(kept.items)
}

/// Hands over every object of a kind, of all namespaces and of those that are gone, in the order of the audit.
async fn each(
    cluster: &Cluster,
    [kind, plural]: [&str; 2],
    mut take: impl FnMut(DynamicObject) -> Result<()>,
) -> Result<()> {
    let gvk = GroupVersionKind::gvk("records.pilothouse.dev", "v1alpha1", kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
    let api: Api<DynamicObject> = Api::all_with(cluster.client.clone(), &resource);
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let found = api.list(&page).await;
        let found = found.map_err(doing(format!("list {plural} of the whole cluster")))?;
        for object in found.items {
            take(object)?;
        }
        match found.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(()),
        }
    }
}

fn parsed<T: serde::de::DeserializeOwned>(object: DynamicObject) -> Result<T> {
    let what = object.name_any();
    serde_json::from_value(object.data).map_err(|source| Error::Answer { what, source })
}

fn link(object: DynamicObject) -> Result<Link> {
    #[derive(Deserialize)]
    struct Placed {
        sequence: i64,
        previous: String,
        hash: String,
        entry: Value,
    }
    let Placed {
        sequence,
        previous,
        hash,
        entry,
    } = parsed(object)?;
    Ok(Link {
        sequence,
        previous,
        hash,
        entry,
    })
}

impl Answer {
    fn of(verdict: &Verdict, keys: Vec<String>) -> Self {
        Self {
            sound: verdict.is_sound(),
            entries: verdict.entries,
            first: verdict.first,
            last: verdict.last,
            checkpoints: verdict.checkpoints,
            unsigned: verdict.unsigned,
            keys,
            flaws: verdict.flaws.iter().map(Flaw::to_string).collect(),
            more_flaws: verdict.more,
        }
    }

    fn page(&self) -> String {
        let entries = match self.entries {
            0 => "none".to_owned(),
            entries => format!("{entries}, from {} to {}", self.first, self.last),
        };
        let keys = match self.keys.as_slice() {
            [] => "none".to_owned(),
            keys => keys.join(", "),
        };
        let mut page = format!(
            "entries      {entries}\ncheckpoints  {} with a good signature\nkeys         {keys}\nunsigned     {} behind the last checkpoint\n",
            self.checkpoints, self.unsigned
        );
        if self.sound {
            return format!("{page}\nNothing is missing and nothing was altered.\n");
        }
        page.push('\n');
        for flaw in &self.flaws {
            page.push_str(&format!("wrong: {flaw}\n"));
        }
        if self.more_flaws > 0 {
            page.push_str(&format!("and {} more\n", self.more_flaws));
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use crds::audit::Head;
    use jiff::Timestamp;
    use ring::{
        rand::SystemRandom,
        signature::{Ed25519KeyPair, KeyPair as _},
    };

    use super::*;

    fn key() -> Ed25519KeyPair {
        let kept = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        Ed25519KeyPair::from_pkcs8(kept.as_ref()).expect("a key")
    }

    fn signed(key: &Ed25519KeyPair) -> Served {
        let (head, at) = (Head::default(), Timestamp::UNIX_EPOCH);
        let signature = key.sign(Checkpoint::signed(&head, at).as_bytes());
        Served {
            checkpoint: Checkpoint {
                sequence: head.sequence,
                hash: head.hash,
                at,
                signature: hex::encode(signature),
            },
            public_key: hex::encode(key.public_key()),
        }
    }

    #[test]
    fn what_the_caller_knows_outweighs_what_the_store_shows() {
        let (old, new) = (signed(&key()), signed(&key()));
        let stores = std::slice::from_ref(&new);
        let known = std::slice::from_ref(&old);
        assert_eq!(
            keys(&[], &[], stores),
            std::slice::from_ref(&new.public_key)
        );
        assert_eq!(
            keys(&[], known, stores),
            std::slice::from_ref(&old.public_key)
        );
        assert_eq!(keys(&["00".into()], &[], stores), ["00"]);
        assert_eq!(keys(&[], &[], &[]), [""; 0]);
        let trusted = [old.public_key.clone()];
        assert!(is_signed(&old.checkpoint, &trusted));
        assert!(!is_signed(&new.checkpoint, &trusted));
        let mut forged = old.checkpoint;
        forged.sequence += 1;
        assert!(!is_signed(&forged, &trusted));
    }

    #[test]
    fn a_page_says_what_was_looked_at_and_what_is_wrong() {
        let verdict = Verdict {
            entries: 3,
            first: 1,
            last: 3,
            checkpoints: 1,
            unsigned: 2,
            ..Verdict::default()
        };
        let page = Answer::of(&verdict, vec!["ab".into()]).page();
        let wanted = "entries      3, from 1 to 3
checkpoints  1 with a good signature
keys         ab
unsigned     2 behind the last checkpoint

Nothing is missing and nothing was altered.
";
        assert_eq!(page, wanted);
        let verdict = Verdict {
            flaws: vec![Flaw::Missing { from: 2, to: 2 }],
            more: 1,
            ..verdict
        };
        let page = Answer::of(&verdict, Vec::new()).page();
        let end = "\nwrong: entries 2 to 2 are missing\nand 1 more\n";
        assert!(page.ends_with(end), "{page}");
    }
}
