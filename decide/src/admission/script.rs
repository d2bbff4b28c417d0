//! A Script that is written: what will be said of it when a run begins.

use crds::v1alpha1::ScriptSpec;
use serde::Deserialize;

use super::{Request, Unreadable};
use crate::{
    command::{Finding, Rulebook},
    gate,
};

#[derive(Deserialize)]
struct Written {
    spec: ScriptSpec,
}

/// Nothing of one whose spec is as it was.
pub fn findings(request: &Request, book: &Rulebook) -> Result<Vec<Finding>, Unreadable> {
    let read = |text| serde_json::from_str::<Written>(text).map_err(|e| Unreadable("Script", e));
    let now = read(request.object)?.spec;
    let before = request.before.map(read).transpose()?;
    if before.is_some_and(|before| before.spec.content == now.content) {
        return Ok(Vec::new());
    }
    Ok(gate::of_script(&now, std::slice::from_ref(book)))
}
