//! The commands of containers: of pods, and of what makes pods.

use std::mem;

use serde::Deserialize;

use super::{Asked, Door, Matter, Memory};
use crate::command::{
    Analysis, Assign, Command, Finding, Rulebook, Source, Unknown, Why, Word, analyse, judge,
};

/// The containers of an object.
#[derive(Default, Deserialize)]
#[serde(from = "Object")]
pub struct Workload(Pod);

/// The part of an object that has containers, wherever it has them.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Object {
    spec: Spec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    init_containers: Vec<Container>,
    containers: Vec<Container>,
    ephemeral_containers: Vec<Container>,
    template: Option<Template>,
    job_template: Option<JobTemplate>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Template {
    spec: Pod,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JobTemplate {
    spec: Templated,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Templated {
    template: Template,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Pod {
    init_containers: Vec<Container>,
    containers: Vec<Container>,
    ephemeral_containers: Vec<Container>,
}

/// One container, as much of it as is judged.
#[derive(Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Container {
    name: String,
    pub(super) command: Vec<String>,
    args: Vec<String>,
    env: Vec<Env>,
    env_from: Vec<EnvFrom>,
    stdin: bool,
    tty: bool,
    lifecycle: Lifecycle,
    liveness_probe: Handler,
    readiness_probe: Handler,
    startup_probe: Handler,
    #[serde(skip)]
    ephemeral: bool,
}

/// Variables of which not even the names stand here.
#[derive(PartialEq, Eq, Hash, Deserialize)]
struct EnvFrom {}

#[derive(PartialEq, Eq, Hash, Deserialize)]
struct Env {
    name: String,
}

#[derive(Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Lifecycle {
    post_start: Handler,
    pre_stop: Handler,
}

#[derive(Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default)]
struct Handler {
    exec: Option<Exec>,
}

#[derive(PartialEq, Eq, Hash, Deserialize)]
struct Exec {
    #[serde(default)]
    command: Vec<String>,
}

impl From<Object> for Workload {
    fn from(object: Object) -> Self {
        let Spec {
            init_containers,
            containers,
            ephemeral_containers,
            template,
            job_template,
        } = object.spec;
        let template = template.or_else(|| job_template.map(|job| job.spec.template));
        let mut pod = template.map_or(
            Pod {
                init_containers,
                containers,
                ephemeral_containers,
            },
            |template| template.spec,
        );
        for container in &mut pod.ephemeral_containers {
            container.ephemeral = true;
        }
        Self(pod)
    }
}

impl Matter for Workload {
    const DOOR: Door = Door::Workload;

    fn length(&self) -> usize {
        let Pod {
            init_containers,
            containers,
            ephemeral_containers,
        } = &self.0;
        let all = [init_containers, containers, ephemeral_containers];
        all.into_iter().flatten().map(Container::bytes).sum()
    }

    /// Of what is as it was nothing is said: a policy stops no workload that was there before it.
    fn findings(asked: Asked<'_, Self>, book: &Rulebook, memory: &Memory) -> Vec<Finding> {
        let (Self(pod), Self(before)) = (asked.matter, asked.before.unwrap_or_default());
        let pairs = [
            (pod.init_containers, &before.init_containers),
            (pod.containers, &before.containers),
            (pod.ephemeral_containers, &before.ephemeral_containers),
        ];
        let mut findings = Vec::new();
        for (now, before) in pairs {
            for mut container in now.into_iter().filter(|one| !before.contains(one)) {
                // Containers that only differ by their names are judged once.
                let name = mem::take(&mut container.name);
                let found = memory.recall(container, |container| container.findings(book));
                findings.extend(found.iter().map(|found| Finding {
                    command: format!("{} (container {name})", found.command),
                    ..found.clone()
                }));
            }
        }
        findings
    }
}

impl Container {
    /// How long it is, about.
    pub(super) fn bytes(&self) -> usize {
        let words = self.command.iter().chain(&self.args);
        let words = words.chain(self.handled().flat_map(|exec| &exec.command));
        let names = self.env.iter().map(|env| &env.name);
        let all = words.chain(names);
        all.map(|word| size_of::<String>() + word.len()).sum()
    }

    /// What a policy says of it, whatever it is called.
    fn findings(&self, book: &Rulebook) -> Vec<Finding> {
        judge(&self.analysis(), [book]).findings
    }

    fn handled(&self) -> impl Iterator<Item = &Exec> {
        let handlers = [
            &self.liveness_probe,
            &self.readiness_probe,
            &self.startup_probe,
            &self.lifecycle.post_start,
            &self.lifecycle.pre_stop,
        ];
        handlers
            .into_iter()
            .filter_map(|handler| handler.exec.as_ref())
    }

    /// Everything that is started in it. An image that is given no words runs what it was built for.
    fn analysis(&self) -> Analysis {
        let mut all = self.words(self.command.iter().chain(&self.args));
        for exec in self.handled() {
            let more = self.words(exec.command.iter());
            all.commands.extend(more.commands);
            all.unknowns.extend(more.unknowns);
        }
        all.commands.extend(self.sets());
        if self.ephemeral && (self.stdin || self.tty) {
            all.unknowns.push(Unknown {
                why: Why::Interactive,
                what: self.command.join(" "),
                at: crate::command::At::START,
            });
        }
        all
    }

    fn words<'a>(&self, words: impl Iterator<Item = &'a String>) -> Analysis {
        let word = |text: &String| {
            if self.expands(text) {
                Word::unknown(text.as_str())
            } else {
                Word::text(text.as_str())
            }
        };
        let words: Vec<_> = words.map(word).collect();
        if words.is_empty() {
            return Analysis {
                commands: Vec::new(),
                unknowns: Vec::new(),
            };
        }
        analyse(&Source::Argv {
            words: &words,
            interactive: false,
        })
    }

    /// Whether the kubelet puts the value of a variable into a word.
    fn expands(&self, text: &str) -> bool {
        text.split("$(").skip(1).any(|rest| {
            let name = rest.split(')').next().unwrap_or_default();
            let named = self.env.iter().any(|env| env.name == name);
            let like_one =
                !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            named || (like_one && !self.env_from.is_empty())
        })
    }

    /// Variables bring other code into what is started.
    fn sets(&self) -> Option<Command> {
        let assign = |env: &Env| Assign {
            name: env.name.clone(),
            value: Word::unknown("..."),
        };
        let assigns: Vec<_> = self.env.iter().map(assign).collect();
        (!assigns.is_empty()).then(|| Command::setting(assigns))
    }
}
