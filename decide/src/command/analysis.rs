//! What a program was found to do: its commands, however they are reached, and what cannot be known of it.

use std::fmt;

use crds::v1alpha1::{CommandShape, SqlStatement};

use super::Word;

/// A place in what was analysed, counted from 1; column counts characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    pub line: u32,
    pub column: u32,
}

impl At {
    pub const START: Self = Self { line: 1, column: 1 };

    /// The place that is so far from the start of a text which begins here.
    #[must_use]
    pub fn plus(self, line: usize, column: usize) -> Self {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        if line <= 1 {
            return Self {
                line: self.line,
                column: self.column.saturating_add(number(column).saturating_sub(1)),
            };
        }
        Self {
            line: self.line.saturating_add(number(line) - 1),
            column: number(column),
        }
    }

    /// The place after a text that begins here.
    #[must_use]
    pub fn after(self, text: &str) -> Self {
        let lines = text.bytes().filter(|byte| *byte == b'\n').count();
        let last = text.rsplit('\n').next().unwrap_or_default();
        self.plus(lines + 1, last.chars().count() + 1)
    }
}

/// A variable that a command sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assign {
    pub name: String,
    pub value: Word,
}

/// A command as it would be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its name and arguments; empty where only variables are set or files written.
    pub argv: Vec<Word>,
    /// Variables that are set by it or for it.
    pub assigns: Vec<Assign>,
    /// Files that its output goes to.
    pub outputs: Vec<Word>,
    /// The folder that it runs in, where the program went to one that is known.
    pub folder: Option<String>,
    /// Statements that it gives to a database.
    pub sql: Vec<SqlStatement>,
    /// What it does together with others.
    pub shape: Option<CommandShape>,
    pub at: At,
    /// How it was reached, the outermost first: `sudo`, `sh -c`.
    pub through: Vec<String>,
}

impl Command {
    /// One that only sets variables, before all others.
    pub fn setting(assigns: Vec<Assign>) -> Self {
        Self {
            argv: Vec::new(),
            assigns,
            outputs: Vec::new(),
            folder: None,
            sql: Vec::new(),
            shape: None,
            at: At::START,
            through: Vec::new(),
        }
    }

    /// For people, within a bound.
    pub fn shown(&self) -> String {
        let set = self.assigns.iter().map(|set| {
            let value = set.value.shown();
            format!("{}={value}", set.name)
        });
        let words = set.chain(self.argv.iter().map(Word::shown));
        let outputs = self
            .outputs
            .iter()
            .map(|file| format!("> {}", file.shown()));
        let shown: Vec<String> = words.chain(outputs).collect();
        clip(&shown.join(" "))
    }
}

/// At most so many characters of a command are told.
const SHOWN: usize = 256;

/// Cuts what is told of a command.
pub fn clip(text: &str) -> String {
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    text.chars().take(SHOWN - 1).chain(['…']).collect()
}

/// Why something cannot be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    TooLong,
    TooDeep,
    TooMuch,
    Unparsed,
    DynamicName,
    DynamicProgram,
    NoProgram,
    InputProgram,
    OwnFile,
    OtherLanguage,
    Sql,
    Hidden,
    Interactive,
}

impl Why {
    /// In words, for the person who wrote it.
    pub fn message(self) -> &'static str {
        match self {
            Self::TooLong => "the text is longer than 64 KiB; split it",
            Self::TooDeep => "commands are nested too deeply to be followed; write them flat",
            Self::TooMuch => "there are too many commands or values to be followed; split it",
            Self::Unparsed => "this does not parse, so nobody can say what it runs",
            Self::DynamicName => "the name of the command is only known when it runs; write it out",
            Self::DynamicProgram => {
                "a program is put together from values that are only known when it runs; pass them as arguments"
            }
            Self::NoProgram => {
                "an interpreter is started without a program that can be read here; give it one"
            }
            Self::InputProgram => {
                "a program comes from the output of another command; write it out, or keep it in a file that was reviewed"
            }
            Self::OwnFile => {
                "a file is run that this program writes, or that anybody may write; run its commands here"
            }
            Self::OtherLanguage => {
                "a program in a language that is not read here may start commands; use the shell or Python"
            }
            Self::Sql => "the SQL is put together when it runs, or does not parse; write it out",
            Self::Hidden => {
                "there are characters that do not show, or that look like others; type it anew"
            }
            Self::Interactive => {
                "what is typed later is seen by nobody; give a command, without a terminal or standard input"
            }
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

/// Something that cannot be known before it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    pub why: Why,
    /// What it is about, for people.
    pub what: String,
    pub at: At,
}

/// What a program does, as far as it can be known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Analysis {
    pub commands: Vec<Command>,
    pub unknowns: Vec<Unknown>,
}
