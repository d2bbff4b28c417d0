//! Which Secret a reference means. One that was deleted and created anew under its name is another.

use crds::v1alpha1::SecretKeyRef;

use crate::Refusal;

/// Refuses a Secret of another UID than the one that is named, if one is.
pub fn is_meant(field: &str, place: &SecretKeyRef, uid: Option<&str>) -> Result<(), Refusal> {
    let Some(meant) = place.uid.as_deref().filter(|meant| uid != Some(meant)) else {
        return Ok(());
    };
    let message = format!(
        "{field}: Secret {} is not the one with UID {meant}, which somebody has replaced; find out who, and have its value made anew",
        place.name
    );
    Err(Refusal::new("SecretReplaced", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_of_the_name_is_refused_where_a_uid_is_named() {
        let named = |uid: Option<&str>| SecretKeyRef {
            name: "s".into(),
            key: "k".into(),
            uid: uid.map(str::to_owned),
        };
        for (meant, there, refused) in [
            (None, Some("a"), false),
            (Some("a"), Some("a"), false),
            (Some("a"), Some("b"), true),
            (Some("a"), None, true),
        ] {
            let answer = is_meant("f", &named(meant), there);
            assert_eq!(answer.is_err(), refused, "{meant:?} {there:?}");
            if let Err(refusal) = answer {
                assert_eq!(refusal.reason, "SecretReplaced");
                assert!(refusal.message.contains("f: Secret s"), "{refusal}");
            }
        }
    }
}
