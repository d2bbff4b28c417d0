//! Interpreters: what they are given is followed, and what they are not given is unknown.

use crds::v1alpha1::CommandShape;

use super::{
    Why, Word,
    names::Process,
    option, python,
    simple::{Call, PIECE, joined, last, placed},
    stream::Stream,
    walker::{Positionals, Walker},
};

/// A language whose programs an interpreter runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Language {
    Shell,
    Python,
    Other,
}

/// The language of an interpreter, the options that give it a program, and those that take a value in a word of their own.
fn language(name: &str) -> Option<(Language, &'static [&'static str], &'static [&'static str])> {
    let plain = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    Some(match plain {
        "sh" | "bash" | "dash" | "ash" | "zsh" | "ksh" | "mksh" | "rbash" | "lksh" | "pdksh"
        | "yash" | "hush" | "rzsh" | "bash-static" | "static-sh" => (
            Language::Shell,
            &[],
            &["-o", "+o", "-O", "--rcfile", "--init-file"],
        ),
        "fish" | "csh" | "tcsh" | "elvish" | "nu" | "xonsh" | "pwsh" | "powershell" => (
            Language::Other,
            &["-c", "-Command", "-EncodedCommand", "-enc", "-e"],
            &[],
        ),
        "python" | "pypy" | "micropython" | "ipython" => (Language::Python, &["-c"], &["-W", "-X"]),
        "perl" => (Language::Other, &["-e", "-E"], &["-I"]),
        "ruby" | "jruby" | "irb" => (Language::Other, &["-e"], &["-I", "-r"]),
        "node" | "nodejs" | "bun" => (
            Language::Other,
            &["-e", "-p", "--eval", "--print", "-pe"],
            &["-r", "--require"],
        ),
        "deno" => (Language::Other, &["eval"], &[]),
        "php" => (Language::Other, &["-r", "-B", "-R", "-E"], &["-d", "-c"]),
        "lua" | "luajit" | "tclsh" | "expect" | "guile" | "osascript" | "Rscript" | "R"
        | "julia" | "groovy" | "jjs" | "jshell" | "scala" | "elixir" | "erl" | "ghc" | "ocaml"
        | "gdb" | "octave" | "emacs" => (
            Language::Other,
            &["-e", "-c", "-eval", "--eval", "-ex", "--execute", "-iex"],
            &["-l"],
        ),
        _ => return None,
    })
}

impl Walker {
    /// Follows what an interpreter is given.
    pub fn interpret(&mut self, name: &str, call: &Call) -> Option<Stream> {
        let (language, options, valued) = language(name)?;
        Some(match language {
            Language::Shell => self.shell(name, call, valued),
            Language::Python => self.python(name, call, valued),
            Language::Other => self.foreign(name, call, options, valued),
        })
    }

    fn shell(&mut self, name: &str, call: &Call, valued: &[&str]) -> Stream {
        let words = call.arguments();
        let start = option::leading(words, valued);
        let options = &words[..start.min(words.len())];
        let rest = words.get(start..).unwrap_or_default();
        if options.iter().any(|word| option::has_letter(word, 'c')) {
            return match rest {
                [] => self.nothing(call),
                [program, rest @ ..] => self.shell_program(name, program, rest, call),
            };
        }
        if options
            .iter()
            .any(|word| matches!(word.beginning(), "--version" | "--help"))
            || (options.iter().any(|word| option::has_letter(word, 'n')) && !rest.is_empty())
        {
            return Stream::Text(String::new());
        }
        let reads = options.iter().any(|word| option::has_letter(word, 's'));
        match rest.first() {
            Some(file) if !reads && file.as_text() != Some("-") => {
                self.begun(&rest[1..], call, |walker| walker.script(name, file, call))
            }
            _ => {
                let words = rest.get(usize::from(!reads)..).unwrap_or_default();
                self.begun(words, call, |walker| walker.fed(name, call))
            }
        }
    }

    /// A shell begins anew, with these arguments.
    pub fn begun(
        &mut self,
        words: &[Word],
        call: &Call,
        walk: impl FnOnce(&mut Self) -> Stream,
    ) -> Stream {
        let positionals = Positionals {
            words: words.to_vec(),
            shifted: false,
        };
        let outer = self.scope.positionals.replace(vec![positionals]);
        self.scope.process.push(Process {
            at: call.at,
            fresh: true,
        });
        let printed = walk(self);
        self.scope.process.pop();
        self.scope.positionals = outer;
        printed
    }

    /// `sh -c program $0 $1 …`.
    fn shell_program(&mut self, name: &str, program: &Word, rest: &[Word], call: &Call) -> Stream {
        let zeroth = rest.first().cloned();
        let words = rest.get(1..).unwrap_or_default().to_vec();
        // `$0` is a word like the others where it is used as one.
        let text = match (&zeroth, program.as_text()) {
            (Some(zeroth), Some(text)) if text.contains("$0") => {
                let known = zeroth
                    .known()
                    .unwrap_or_else(|| "${PILOTHOUSE_UNKNOWN}".to_owned());
                Word::text(text.replace("$0", &known))
            }
            _ => program.clone(),
        };
        let through = format!("{name} -c");
        let walked = self.within(
            call.at,
            |scope| {
                scope.positionals = Some(vec![Positionals {
                    words,
                    shifted: false,
                }]);
                scope.input = call.input.clone();
            },
            |walker| walker.assembled(&through, &text, call.at),
        );
        walked.unwrap_or(Stream::Other)
    }

    /// An interpreter is given a file.
    fn script(&mut self, name: &str, file: &Word, call: &Call) -> Stream {
        let text = file.shown();
        if text == PIECE {
            let piece = Call {
                input: call.file.clone().unwrap_or_default(),
                ..call.clone()
            };
            return self.fed(name, &piece);
        }
        if matches!(
            text.as_str(),
            "/dev/stdin" | "/dev/fd/0" | "/proc/self/fd/0"
        ) {
            return self.fed(name, call);
        }
        let named =
            matches!(file.parts.last(), Some(super::Part::Text(end)) if !last(end).is_empty());
        if !named {
            self.unknown(Why::DynamicProgram, &text, call.at);
        } else if self.is_own_file(file) {
            self.unknown(Why::OwnFile, &text, call.at);
        }
        Stream::Other
    }

    /// `source FILE`.
    pub fn source(&mut self, call: &Call) -> Stream {
        match call.arguments().first() {
            Some(file) => self.script("sh", file, call),
            None => Stream::Nothing,
        }
    }

    /// An interpreter is given its program on standard input.
    pub fn fed(&mut self, name: &str, call: &Call) -> Stream {
        let shape = match &call.input {
            Stream::Text(text) => return self.fed_text(name, &Word::text(text.as_str()), call),
            Stream::Mixed(word) => return self.fed_text(name, &word.clone(), call),
            Stream::Nothing => return Stream::Nothing,
            Stream::Inherited => return self.nothing(call),
            Stream::Downloaded => Some(CommandShape::DownloadedProgram),
            Stream::Decoded => Some(CommandShape::DecodedProgram),
            Stream::Paths(_) | Stream::File | Stream::Other => None,
        };
        if shape.is_some() {
            self.found(call, &[], shape);
        }
        self.unknown(Why::InputProgram, &joined(&call.argv).shown(), call.at);
        Stream::Other
    }

    fn fed_text(&mut self, name: &str, program: &Word, call: &Call) -> Stream {
        match language(name) {
            Some((Language::Python, ..)) => self.python_text(name, program, call),
            Some((Language::Other, ..)) => self.foreign_text(program, call),
            _ => {
                let through = format!("{name} <");
                let walked = self.within(
                    call.at,
                    |scope| scope.input = Stream::Nothing,
                    |walker| walker.assembled(&through, program, call.input_at),
                );
                walked.unwrap_or(Stream::Other)
            }
        }
    }

    fn nothing(&mut self, call: &Call) -> Stream {
        self.unknown(Why::NoProgram, &joined(&call.argv).shown(), call.at);
        Stream::Other
    }

    fn python(&mut self, name: &str, call: &Call, valued: &[&str]) -> Stream {
        let words = call.arguments();
        // `-c` ends the options: in a cluster it comes last.
        let given = words
            .iter()
            .position(|word| option::has_letter(word, 'c') && word.beginning().starts_with('-'));
        let start = option::leading(words, valued);
        if let Some(at) = given.filter(|at| *at < start) {
            let after = words[at]
                .beginning()
                .split_once('c')
                .map_or("", |(_, rest)| rest);
            let program = if after.is_empty() {
                words.get(at + 1).cloned()
            } else {
                Some(Word::text(after))
            };
            return match program {
                Some(program) => self.python_text(name, &program, call),
                None => self.nothing(call),
            };
        }
        let options = &words[..start.min(words.len())];
        let only = |word: &Word| {
            matches!(
                word.beginning(),
                "--version" | "--help" | "-V" | "-VV" | "-h"
            ) || option::has_letter(word, 'm')
        };
        if options.iter().any(only) {
            return Stream::Other;
        }
        match words.get(start) {
            Some(file) if file.as_text() != Some("-") => self.script(name, file, call),
            _ => self.fed(name, call),
        }
    }

    fn python_text(&mut self, name: &str, program: &Word, call: &Call) -> Stream {
        if program.is_open() {
            self.unknown(Why::DynamicProgram, &program.shown(), call.at);
            return Stream::Other;
        }
        let text = placed(program);
        self.within(
            call.at,
            |scope| {
                scope.through.push(name.to_owned());
                scope.process.push(Process {
                    at: call.at,
                    fresh: true,
                });
            },
            |walker| python::walk(walker, &text, call.at),
        );
        Stream::Other
    }

    /// An interpreter of a language that is not read here.
    fn foreign(&mut self, name: &str, call: &Call, options: &[&str], valued: &[&str]) -> Stream {
        let words = call.arguments();
        let mut programs = option::values(words, options);
        // In a cluster such as `-pe` the program is the next word.
        let letters: Vec<char> = options
            .iter()
            .filter(|o| o.len() == 2)
            .filter_map(|o| o.chars().nth(1))
            .collect();
        let cluster = |word: &Word| {
            let text = word.beginning();
            text.len() > 2
                && !text.starts_with("--")
                && text.starts_with('-')
                && text.ends_with(letters.as_slice())
        };
        let clusters = words.iter().enumerate().filter(|(_, word)| cluster(word));
        programs.extend(clusters.filter_map(|(at, _)| words.get(at + 1).cloned()));
        if !programs.is_empty() {
            for program in &programs {
                self.foreign_text(program, call);
            }
            return Stream::Other;
        }
        let start = option::leading(words, valued);
        if words.iter().any(|word| {
            matches!(
                word.beginning(),
                "--version" | "-v" | "--help" | "-V" | "-version" | "-i" | "-m" | "--check"
            )
        }) {
            return Stream::Other;
        }
        match words.get(start) {
            Some(file) if file.as_text() != Some("-") => self.script(name, file, call),
            _ => self.fed(name, call),
        }
    }

    /// A program that is not read is held where a word of it may start something.
    fn foreign_text(&mut self, program: &Word, call: &Call) -> Stream {
        if program.is_open() {
            self.unknown(Why::DynamicProgram, &program.shown(), call.at);
        } else if may_start_something(&program.shown()) {
            self.unknown(Why::OtherLanguage, &program.shown(), call.at);
        }
        Stream::Other
    }
}

/// Words by which the languages that are not read here start programs, change files, or run text.
const STARTING: &[&str] = &[
    "system",
    "exec",
    "eval",
    "spawn",
    "popen",
    "fork",
    "unlink",
    "rmtree",
    "remove",
    "rm_r",
    "rm_rf",
    "rmdir",
    "delete",
    "child_process",
    "qx",
    "open",
    "require",
    "import",
    "load",
    "shell",
    "sh",
    "io",
    "file",
    "fileutils",
    "fs",
    "writefile",
    "syscall",
    "kill",
    "rename",
    "truncate",
    "do",
    "socket",
    "use",
    "chmod",
    "chown",
    "readpipe",
    "passthru",
    "proc_open",
    "pcntl_exec",
    "assert",
    "invoke",
    "iex",
    "start",
    "remove-item",
    "rm",
    "dd",
    "mkfs",
    "reboot",
    "shutdown",
    "package",
    "loadstring",
    "dofile",
    "function",
    "constructor",
    "dynaloader",
    "posix",
    "ctypes",
    "ffi",
    "run",
    "python",
    "sendline",
];

fn may_start_something(program: &str) -> bool {
    let signs = program.contains('`')
        || program.contains("&$")
        || program.contains("->")
        || program.contains("\\x");
    let piped = program.contains("| \"") || program.contains("|\"") || program.contains("| '");
    // `s/…/…/e` runs what it puts in.
    let runs = program.rsplit('/').next().is_some_and(|flags| {
        let flags = flags.trim_end_matches([';', '}', ' ']);
        flags.contains('e') && flags.len() < 6 && flags.bytes().all(|b| b"gimsxeor".contains(&b))
    });
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let starts = program
        .split(word)
        .any(|word| STARTING.contains(&word.to_ascii_lowercase().as_str()));
    signs || piped || runs || starts
}
