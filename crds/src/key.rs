//! The key of one effect: whoever starts the same key twice gets one effect. It names everything that makes an effect itself and nothing that an edit could change.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Identifies one attempt of one step of one frozen plan on one target, across clusters and across leaders.
///
/// The fields are declared in alphabetical order, because their JSON in that order is what `digest` covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EffectKey {
    /// Attempt, from 1, taken from durable state.
    pub attempt: i32,
    /// UID of the cluster (of its namespace kube-system, or of Pilothouse's own where it serves some namespaces only), so that two clusters never share a key on a host.
    pub cluster: String,
    /// SHA-256 of the frozen plan, in lower-case hex.
    pub plan: String,
    /// UID of the JobRun.
    pub run: String,
    /// Name of the step.
    pub step: String,
    /// UID of the target; empty for a step without a target.
    pub target: String,
}

impl EffectKey {
    /// SHA-256 of the key's canonical JSON (fields in alphabetical order, no white space), in lower-case hex; also the name of its journal folder.
    pub fn digest(&self) -> String {
        hex::encode(self.digest_bytes())
    }

    /// The same as bytes.
    pub fn digest_bytes(&self) -> [u8; 32] {
        let canonical = serde_json::to_vec(self).expect("a key is strings and a number");
        Sha256::digest(canonical).into()
    }
}

#[cfg(test)]
mod tests {
    use super::EffectKey;

    fn key() -> EffectKey {
        EffectKey {
            attempt: 1,
            cluster: "c".into(),
            plan: "p".into(),
            run: "r".into(),
            step: "s".into(),
            target: "t".into(),
        }
    }

    #[test]
    fn the_digest_never_changes_between_versions() {
        let canonical =
            r#"{"attempt":1,"cluster":"c","plan":"p","run":"r","step":"s","target":"t"}"#;
        assert_eq!(serde_json::to_string(&key()).expect("json"), canonical);
        assert_eq!(
            key().digest(),
            "ca72d094ced48f5fa88101869e9acbcf4b67a2e72f0568c2c09bc46fc0a4c64a"
        );
    }

    #[test]
    fn every_field_is_part_of_the_digest() {
        let other = [
            EffectKey {
                attempt: 2,
                ..key()
            },
            EffectKey {
                cluster: "x".into(),
                ..key()
            },
            EffectKey {
                plan: "x".into(),
                ..key()
            },
            EffectKey {
                run: "x".into(),
                ..key()
            },
            EffectKey {
                step: "x".into(),
                ..key()
            },
            EffectKey {
                target: "x".into(),
                ..key()
            },
        ];
        for changed in other {
            assert_ne!(changed.digest(), key().digest(), "{changed:?}");
        }
    }
}
