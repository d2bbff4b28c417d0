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
    own_index: Index,
    built_in_index: Index,
}

/// Where rules stand, by the names of commands; those of any command, and of patterns of names, stand under none.
#[derive(Default)]
struct Index {
    by_name: BTreeMap<String, Vec<usize>>,
    of_any: Vec<usize>,
}

impl Index {
    fn of(rules: &[CommandRule]) -> Self {
        let mut index = Self::default();
        for (at, rule) in rules.iter().enumerate() {
            let names = &rule.match_.commands;
            if names.is_empty() || names.iter().any(|name| name.contains(['*', '?', '\\'])) {
                index.of_any.push(at);
                continue;
            }
            for name in names {
                index.by_name.entry(name.clone()).or_default().push(at);
            }
        }
        index
    }

    /// Those that may be of a command of this name.
    fn of_command(&self, name: &str) -> impl Iterator<Item = usize> {
        let named = self.by_name.get(name).map_or(&[][..], Vec::as_slice);
        named.iter().chain(&self.of_any).copied()
    }
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
        Ok(Self {
            policy: policy.to_owned(),
            mode: spec.mode,
            on_unknown: spec.on_unknown,
            places: spec.apply_to.clone(),
            own_index: Index::of(&spec.rules),
            own: spec.rules.clone(),
            built_in_index: Index::of(&built_in),
            built_in,
        })
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
        let matches = |rule: &&CommandRule| subject.matches(&rule.match_);
        let own = self.own_index.of_command(&subject.name);
        let own = own.filter(|at| matches(&&self.own[*at])).min();
        if let Some(own) = own {
            return vec![&self.own[own]];
        }
        let built_in = self.built_in_index.of_command(&subject.name);
        built_in
            .map(|at| &self.built_in[at])
            .filter(matches)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use crds::v1alpha1::Interpreter;
    use serde_json::json;

    use super::*;
    use crate::command::{Source, analyse, judge};

    #[test]
    fn the_first_of_its_own_rules_decides_however_it_names_the_command() {
        let rule = |name: &str, commands: &[&str]| json!({"name": name, "match": {"commands": commands}, "action": "Warn", "why": "w"});
        let rules = [
            rule("one-letter", &["b?"]),
            rule("named", &["beep", "bop"]),
            rule("escaped", &["bo\\p"]),
            rule("star", &["bo*"]),
            rule("any", &[]),
            rule("late", &["hum"]),
        ];
        let spec = json!({"builtIn": {"packs": []}, "rules": rules});
        let spec = serde_json::from_value(spec).expect("a policy");
        let book = Rulebook::of("p", &spec).expect("it can be used");
        for (text, rule) in [
            ("bx", "one-letter"),
            ("beep", "named"),
            ("/usr/bin/bop", "named"),
            ("boom", "star"),
            ("hum", "any"),
        ] {
            let source = Source::Script {
                interpreter: Interpreter::Bash,
                text,
            };
            let found = judge(&analyse(&source), [&book]).findings;
            let rules: Vec<_> = found.iter().map(|found| &*found.rule).collect();
            assert_eq!(rules, [rule], "{text}");
        }
    }
}
