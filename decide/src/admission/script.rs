//! A Script that is written: what will be said of it when a run begins.

use crds::v1alpha1::ScriptSpec;
use serde::Deserialize;

use super::{Asked, Door, Matter, Memory};
use crate::{
    command::{Finding, Rulebook},
    gate,
};

/// As much of a Script as is judged.
#[derive(Deserialize)]
pub struct Written {
    spec: ScriptSpec,
}

impl Matter for Written {
    const DOOR: Door = Door::Script;

    fn length(&self) -> usize {
        self.spec.content.len()
    }

    /// Nothing of one whose content is as it was.
    fn findings(asked: Asked<'_, Self>, book: &Rulebook, _: &Memory) -> Vec<Finding> {
        let now = asked.matter.spec;
        let before = asked.before;
        if before.is_some_and(|before| before.spec.content == now.content) {
            return Vec::new();
        }
        gate::of_script(&now, std::slice::from_ref(book))
    }
}
