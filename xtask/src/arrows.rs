//! Which room may lean on which: the arrows of the architecture, held against what cargo says.

use serde_json::Value;

use crate::{
    checkout::Checkout,
    error::{Error, Result},
    steps::Log,
};

/// Each room, and the rooms that it may depend on; what is not named here has no arrow.
const ARROWS: [(&str, &[&str]); 13] = [
    ("bench", &["crds", "decide", "reach", "records"]),
    ("crds", &[]),
    ("serving", &[]),
    ("decide", &["crds"]),
    ("reach", &["crds"]),
    ("records", &["crds"]),
    ("toolkit", &["crds"]),
    (
        "operator",
        &["crds", "decide", "reach", "records", "serving"],
    ),
    ("server", &["crds", "decide", "records", "serving"]),
    ("webhook", &["crds", "decide", "records", "serving"]),
    ("cli", &["crds", "decide"]),
    ("e2e", &["crds", "records"]),
    ("xtask", &[]),
];

/// What the pure rooms may never pull in, whatever the arrows say.
const PURE: [&str; 2] = ["crds", "decide"];
const IMPURE: [&str; 4] = ["tokio", "reqwest", "hyper", "russh"];

pub fn check(checkout: &Checkout, log: &Log) -> Result<()> {
    let text = log.read(checkout.cargo().args([
        "metadata",
        "--format-version=1",
        "--no-deps",
        "--locked",
    ]))?;
    let metadata = serde_json::from_str(&text).map_err(|source| Error::Json {
        what: "cargo metadata".into(),
        source,
    })?;
    let wrong = wrong(&metadata);
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(Error::Refused(wrong.join("\n")))
    }
}

/// One sentence for each dependency that goes against the arrows; tests may lean on what they like.
fn wrong(metadata: &Value) -> Vec<String> {
    let packages = || metadata["packages"].as_array().into_iter().flatten();
    let rooms: Vec<&str> = packages()
        .filter_map(|package| package["name"].as_str())
        .collect();
    let mut wrong = Vec::new();
    for package in packages() {
        let room = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{room} is not a room of the architecture; its arrows belong into xtask/src/arrows.rs"));
            continue;
        };
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        for name in dependencies
            .filter(|dependency| dependency["kind"].is_null())
            .filter_map(|dependency| dependency["name"].as_str())
        {
            let outside = rooms.contains(&name) && !allowed.contains(&name);
            if outside || PURE.contains(&room) && IMPURE.contains(&name) {
                wrong.push(format!("{room} may not depend on {name}"));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata(room: &str, dependency: &str, kind: Option<&str>) -> Value {
        let dependencies = json!([{"name": dependency, "kind": kind}]);
        json!({"packages": [{"name": room, "dependencies": dependencies}, {"name": "operator", "dependencies": []}]})
    }

    #[test]
    fn an_arrow_against_the_grain_is_named() {
        assert_eq!(
            wrong(&metadata("reach", "operator", None)),
            ["reach may not depend on operator"]
        );
    }

    #[test]
    fn a_pure_room_with_a_runtime_is_named() {
        assert_eq!(
            wrong(&metadata("decide", "tokio", None)),
            ["decide may not depend on tokio"]
        );
        assert_eq!(
            wrong(&metadata("reach", "tokio", None)),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_test_may_lean_on_anything() {
        assert_eq!(
            wrong(&metadata("reach", "operator", Some("dev"))),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_new_room_asks_for_its_arrows() {
        assert_eq!(wrong(&metadata("cellar", "serde", None)).len(), 1);
    }
}
