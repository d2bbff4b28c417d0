//! What CommandPolicies say of a command that somebody would type into a pod: the same judgement as at the door of the API server.

use crds::v1alpha1::CommandPolicy;
use decide::{
    Refusal,
    admission::{self, Asked, Exec, Memory},
    command::Rulebook,
};
use kube::ResourceExt as _;

/// What CommandPolicies say.
#[derive(Default)]
pub struct Commands {
    /// Why one of them refuses it.
    pub refused: Option<String>,
    pub notes: Vec<String>,
}

impl Commands {
    /// Of what nobody has typed yet.
    pub fn unasked(asking: &[CommandPolicy]) -> Self {
        let note = |policy: &CommandPolicy| {
            format!(
                "CommandPolicy {} judges what is typed: give the command behind --",
                policy.name_any()
            )
        };
        Self {
            refused: None,
            notes: asking.iter().map(note).collect(),
        }
    }

    pub fn judged(asking: &[CommandPolicy], asked: &Asked<'_, Exec>) -> Self {
        let mut commands = Self::default();
        for policy in asking {
            let name = policy.name_any();
            match Rulebook::of(&name, &policy.spec) {
                Ok(book) => {
                    let answer = admission::answer(asked.clone(), &book, &Memory::default());
                    commands.refused = commands.refused.or(answer.refused);
                    commands.notes.extend(answer.warnings);
                }
                Err(Refusal { message, .. }) => {
                    commands
                        .notes
                        .push(format!("CommandPolicy {name}: {message}"));
                }
            }
        }
        commands
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn commands_are_judged_by_every_policy_that_is_asked() {
        let policy = |name: &str, action: &str| {
            let spec = json!({"applyTo": ["PodExec"], "builtIn": {"packs": []},
                "rules": [{"name": "beep", "match": {"commands": ["beep"]}, "action": action, "why": "w"}]});
            CommandPolicy::new(name, serde_json::from_value(spec).expect("a spec"))
        };
        let asking = [policy("a", "Warn"), policy("b", "Deny")];
        let asked = Asked {
            subresource: "exec",
            matter: Exec {
                command: vec!["env".to_owned(), "beep".to_owned()],
                stdin: false,
                tty: false,
            },
            before: None,
            ticket: None,
            own: None,
        };
        let judged = Commands::judged(&asking, &asked);
        let refused = judged.refused.expect("b refuses");
        assert!(
            refused.contains("rule beep of CommandPolicy b"),
            "{refused}"
        );
        assert_eq!(judged.notes.len(), 1, "a warns");
        assert_eq!(Commands::unasked(&asking).notes.len(), 2);
    }
}
