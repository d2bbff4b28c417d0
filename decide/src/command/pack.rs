//! The rules that Pilothouse brings, in the form in which people write their own.

use std::{collections::BTreeMap, sync::LazyLock};

use crds::v1alpha1::{CommandPack, CommandRule};

static RULES: LazyLock<BTreeMap<CommandPack, Vec<CommandRule>>> = LazyLock::new(|| {
    serde_saphyr::from_str(include_str!("pack.yaml"))
        .expect("the pack is compiled in, and read by a test")
});

/// Every built-in rule and the pack that it belongs to.
pub fn rules() -> impl Iterator<Item = (CommandPack, &'static CommandRule)> {
    RULES
        .iter()
        .flat_map(|(pack, rules)| rules.iter().map(|rule| (*pack, rule)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_rule_can_be_told_and_is_told_apart() {
        let names: BTreeSet<&str> = rules().map(|(_, rule)| rule.name.as_str()).collect();
        assert_eq!(names.len(), rules().count());
        assert!(names.len() >= 60, "{}", names.len());
        for (_, rule) in rules() {
            assert!(
                rule.name.len() <= 63 && !rule.why.is_empty() && rule.why.len() <= 512,
                "{}",
                rule.name
            );
            assert!(
                rule.safer
                    .as_ref()
                    .is_some_and(|safer| !safer.is_empty() && safer.len() <= 512),
                "{}",
                rule.name
            );
        }
        let page = include_str!("../../../docs/how-to/command-policies.md");
        for (pack, rule) in rules() {
            let row = format!(
                "| {pack:?} | `{}` | {:?} | {:?} | {} |",
                rule.name, rule.action, rule.severity, rule.why
            );
            assert!(page.contains(&row), "the page lacks: {row}");
        }
        let packs: BTreeSet<CommandPack> = rules().map(|(pack, _)| pack).collect();
        assert_eq!(packs, CommandPack::ALL.into());
    }
}
