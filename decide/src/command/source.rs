//! What is analysed, and where the analysis begins.

use crds::v1alpha1::Interpreter;

use super::{
    Analysis, At, Unknown, Why, Word, bounds, python, simple::Call, stream::Stream, walker::Walker,
};

/// A program, or a command of one's own.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A script and what runs it.
    Script {
        interpreter: Interpreter,
        text: &'a str,
    },
    /// The words of a command, as `kubectl exec` and the command of a container have them.
    Argv {
        words: &'a [Word],
        /// Whether more comes in on its standard input, or a terminal: what is typed there is seen by nobody.
        interactive: bool,
    },
}

/// What a program does. It is total: no text makes it panic, and its time and memory have bounds.
pub fn analyse(source: &Source) -> Analysis {
    let cramped = bounds::here(|| walk(source, false));
    let whole = cramped
        .flatten()
        .or_else(|| bounds::with_room(|| walk(source, true)).flatten());
    whole.unwrap_or_else(|| Analysis {
        commands: Vec::new(),
        unknowns: vec![Unknown {
            why: Why::Unparsed,
            what: String::new(),
            at: At::START,
        }],
    })
}

/// Nothing where the stack has no room for it.
fn walk(source: &Source, roomy: bool) -> Option<Analysis> {
    let walker = Walker::new(Stream::Inherited, roomy);
    match *source {
        Source::Script {
            interpreter: Interpreter::Python,
            text,
        } => walker.settle(|walker| python::walk(walker, text, At::START)),
        Source::Script { text, .. } => walker.settle(|walker| {
            walker.program(text, At::START);
        }),
        Source::Argv { words, interactive } => {
            walker.settle(|walker| argv(walker, words, interactive))
        }
    }
}

fn argv(walker: &mut Walker, words: &[Word], interactive: bool) {
    let shown: Vec<String> = words.iter().map(Word::shown).collect();
    let shown = shown.join(" ");
    if interactive {
        walker.unknown(Why::Interactive, &shown, At::START);
    }
    if shown.len() > bounds::LENGTH {
        return walker.unknown(Why::TooLong, &shown, At::START);
    }
    if words.is_empty() {
        return walker.unknown(Why::NoProgram, "", At::START);
    }
    walker.run(&Call::of(words.to_vec(), Stream::Inherited, At::START));
}
