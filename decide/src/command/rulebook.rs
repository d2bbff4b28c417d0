//! The rules of a policy in the form in which they are asked: checked once, and found by the name of a command.

use std::collections::{BTreeMap, BTreeSet};

use crds::v1alpha1::{CommandAction, CommandPlace, CommandPolicySpec, CommandRule, PolicyMode};

use super::{UNKNOWN, pack, pattern::Subject};
use crate::Refusal;

/// The rules of one policy.
pub struct Rulebook {
    pub policy: String,
    pub mode: PolicyMode,
    pub on_unknown: CommandAction,
    places: Vec<CommandPlace>,
    own: Vec<CommandRule>,
    built_in: Vec<CommandRule>,
    /// Built-in rules by the names of commands; those of any command, and of names with a star, stand under none.
    by_name: BTreeMap<String, Vec<usize>>,
    of_any: Vec<usize>,
}

impl Rulebook {
    /// Refuses a policy that names a built-in rule which does not exist.
    pub fn of(policy: &str, spec: &CommandPolicySpec) -> Result<Self, Refusal> {
        let all: BTreeSet<&str> = pack::rules().map(|(_, rule)| rule.name.as_str()).collect();
        let chosen = &spec.built_in;
        let excluded = chosen.exclude.iter().map(String::as_str);
        let changed = chosen.actions.iter().map(|one| one.name.as_str());
        if let Some(unknown) = excluded.chain(changed).find(|name| !all.contains(name)) {
            return Err(Refusal::new(
                "UnknownRule",
                format!(
                    "spec.builtIn: no built-in rule is called {unknown:?}; docs/how-to/command-policies.md lists them"
                ),
            ));
        }
        let used = pack::rules().filter(|(pack, rule)| {
            chosen.packs.contains(pack) && !chosen.exclude.contains(&rule.name)
        });
        let mut built_in: Vec<CommandRule> = used.map(|(_, rule)| rule.clone()).collect();
        for rule in &mut built_in {
            let other = chosen.actions.iter().find(|one| one.name == rule.name);
            rule.action = other.map_or(rule.action, |one| one.action);
        }
        let mut book = Self {
            policy: policy.to_owned(),
            mode: spec.mode,
            on_unknown: spec.on_unknown,
            places: spec.apply_to.clone(),
            own: spec.rules.clone(),
            built_in,
            by_name: BTreeMap::new(),
            of_any: Vec::new(),
        };
        book.index();
        Ok(book)
    }

    fn index(&mut self) {
        for (index, rule) in self.built_in.iter().enumerate() {
            let names = &rule.match_.commands;
            if names.is_empty() || names.iter().any(|name| name.contains('*')) {
                self.of_any.push(index);
                continue;
            }
            for name in names {
                self.by_name.entry(name.clone()).or_default().push(index);
            }
        }
    }

    /// Whether it is asked of what stands in a place.
    pub fn asks(&self, place: CommandPlace) -> bool {
        self.places.contains(&place)
    }

    /// What a rule of this name asks for today; `unknown` is what cannot be known.
    pub fn action(&self, rule: &str) -> Option<CommandAction> {
        let mut rules = self.own.iter().chain(&self.built_in);
        let found = rules.find(|one| one.name == rule).map(|one| one.action);
        found.or_else(|| (rule == UNKNOWN).then_some(self.on_unknown))
    }

    /// How many rules of its own it has, and how many built-in ones.
    pub fn counts(&self) -> (usize, usize) {
        (self.own.len(), self.built_in.len())
    }

    /// The rules that decide for a command: the first of its own, or else every built-in one.
    pub fn decide(&self, subject: &Subject) -> Vec<&CommandRule> {
        if let Some(own) = self.own.iter().find(|rule| subject.matches(&rule.match_)) {
            return vec![own];
        }
        let named = self
            .by_name
            .get(&subject.name)
            .map_or(&[][..], Vec::as_slice);
        let asked = named
            .iter()
            .chain(&self.of_any)
            .map(|index| &self.built_in[*index]);
        asked.filter(|rule| subject.matches(&rule.match_)).collect()
    }
}
