//! A command that is started in a container, and a terminal that is attached to one.

use serde::Deserialize;

use super::{Request, Unreadable};
use crate::command::{Finding, Rulebook, Source, Word, analyse, judge};

/// Of PodExecOptions and PodAttachOptions.
#[derive(Deserialize)]
struct Options {
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    stdin: bool,
    #[serde(default)]
    tty: bool,
}

/// Whoever attaches without an input only looks on.
pub fn findings(request: &Request, book: &Rulebook) -> Result<Vec<Finding>, Unreadable> {
    let options: Options = serde_json::from_str(request.object)
        .map_err(|e| Unreadable("PodExecOptions or PodAttachOptions", e))?;
    let interactive = options.stdin || options.tty;
    let attached = request.subresource == "attach";
    if attached && !interactive {
        return Ok(Vec::new());
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
    Ok(judge(&analysis, [book]).findings)
}
