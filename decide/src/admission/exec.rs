//! A command that is started in a container, and a terminal that is attached to one.

use serde::Deserialize;

use super::{Asked, Door, Matter, Memory};
use crate::command::{Finding, Rulebook, Source, Word, analyse, judge};

/// Of PodExecOptions and PodAttachOptions.
#[derive(Clone, Debug, Deserialize)]
pub struct Exec {
    #[serde(default)]
    pub command: Vec<String>,
    #[serde(default)]
    pub stdin: bool,
    #[serde(default)]
    pub tty: bool,
}

impl Matter for Exec {
    const DOOR: Door = Door::Exec;

    fn length(&self) -> usize {
        self.command.iter().map(String::len).sum()
    }

    /// Whoever attaches without an input only looks on.
    fn findings(asked: Asked<'_, Self>, book: &Rulebook, _: &Memory) -> Vec<Finding> {
        let options = asked.matter;
        let interactive = options.stdin || options.tty;
        let attached = asked.subresource == "attach";
        if attached && !interactive {
            return Vec::new();
        }
        let words: Vec<_> = options.command.iter().map(Word::text).collect();
        let source = Source::Argv {
            words: &words,
            interactive,
        };
        let mut analysis = analyse(&source);
        if attached {
            // What goes on in there was started by others; that it is not named here is no finding.
            analysis.unknowns.truncate(1);
        }
        judge(&analysis, [book]).findings
    }
}
