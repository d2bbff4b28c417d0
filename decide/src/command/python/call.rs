//! Calls of Python's functions that run programs or change files, as the commands that they come to.

use ruff_python_ast::{Expr, ExprCall};

use super::{
    super::{At, Why, Word, simple::Call, stream::Stream},
    Reader,
    text::{list, word},
};

/// What a function does with its arguments.
#[derive(Clone, Copy)]
enum Does {
    /// Gives a text to a shell.
    Shell,
    /// Runs a list of words, or a text with shell=True.
    Process,
    /// Runs its arguments after the first so many as words, the first of which only is what the program is told that it is called; the one before is the program.
    Words(usize),
    /// Runs the list at this place as words, in the same way.
    List(usize),
    /// Comes to this command with its first arguments.
    Command(&'static [&'static str], usize),
    /// Opens a file, to write where the mode says so.
    Open,
    /// Runs a text as Python.
    Program,
    /// Imports a module by a name.
    Import,
    /// Looks an attribute up by a name.
    Attribute,
    /// Does what cannot be seen.
    Unseen,
}

const FUNCTIONS: &[(&str, &[&str], Does)] = &[
    (
        "os",
        &["system", "popen", "popen2", "popen3", "popen4"],
        Does::Shell,
    ),
    ("subprocess", &["getoutput", "getstatusoutput"], Does::Shell),
    ("commands", &["getoutput", "getstatusoutput"], Does::Shell),
    ("asyncio", &["create_subprocess_shell"], Does::Shell),
    ("platform", &["popen"], Does::Shell),
    (
        "subprocess",
        &["run", "call", "check_call", "check_output", "Popen"],
        Does::Process,
    ),
    ("pty", &["spawn"], Does::Process),
    ("pexpect", &["run", "spawn"], Does::Shell),
    ("asyncio", &["create_subprocess_exec"], Does::Words(0)),
    (
        "os",
        &["execl", "execlp", "execle", "execlpe"],
        Does::Words(1),
    ),
    (
        "os",
        &["spawnl", "spawnlp", "spawnle", "spawnlpe"],
        Does::Words(2),
    ),
    (
        "os",
        &[
            "execv",
            "execvp",
            "execve",
            "execvpe",
            "posix_spawn",
            "posix_spawnp",
        ],
        Does::List(1),
    ),
    (
        "os",
        &["spawnv", "spawnvp", "spawnve", "spawnvpe"],
        Does::List(2),
    ),
    ("shutil", &["rmtree"], Does::Command(&["rm", "-rf"], 1)),
    (
        "os",
        &["remove", "unlink", "rmdir", "removedirs"],
        Does::Command(&["rm", "-f"], 1),
    ),
    ("shutil", &["move"], Does::Command(&["mv"], 2)),
    (
        "os",
        &["rename", "replace", "renames"],
        Does::Command(&["mv"], 2),
    ),
    (
        "shutil",
        &["copy", "copy2", "copyfile", "copytree"],
        Does::Command(&["cp", "-r"], 2),
    ),
    (
        "os",
        &["chmod", "chown", "lchown"],
        Does::Command(&["chown"], 1),
    ),
    ("shutil", &["chown"], Does::Command(&["chown"], 1)),
    (
        "os",
        &["truncate"],
        Does::Command(&["truncate", "-s", "0"], 1),
    ),
    ("os", &["symlink", "link"], Does::Command(&["ln", "-sf"], 2)),
    ("os", &["kill", "killpg"], Does::Command(&["kill"], 1)),
    ("builtins", &["open"], Does::Open),
    ("io", &["open"], Does::Open),
    ("os", &["open"], Does::Open),
    ("codecs", &["open"], Does::Open),
    ("builtins", &["eval", "exec"], Does::Program),
    ("builtins", &["compile"], Does::Program),
    ("builtins", &["__import__"], Does::Import),
    ("importlib", &["import_module"], Does::Import),
    ("builtins", &["getattr"], Does::Attribute),
    ("builtins", &["execfile", "globals"], Does::Unseen),
    ("runpy", &["run_path", "run_module"], Does::Unseen),
    ("pickle", &["load", "loads", "Unpickler"], Does::Unseen),
    ("marshal", &["load", "loads"], Does::Unseen),
    (
        "ctypes",
        &["CDLL", "cdll", "PyDLL", "pythonapi", "util"],
        Does::Unseen,
    ),
    (
        "code",
        &["interact", "InteractiveConsole", "InteractiveInterpreter"],
        Does::Unseen,
    ),
    ("posix", &["system", "popen"], Does::Shell),
];

/// Methods by which a function is known whatever it is a method of.
const METHODS: &[(&str, Does)] = &[
    ("system", Does::Shell),
    ("popen", Does::Shell),
    ("exec_command", Does::Shell),
    ("create_subprocess_shell", Does::Shell),
    ("getoutput", Does::Shell),
    ("check_call", Does::Process),
    ("check_output", Does::Process),
    ("Popen", Does::Process),
    ("rmtree", Does::Command(&["rm", "-rf"], 1)),
    ("execute", Does::Command(&["psql", "-c"], 1)),
    ("executescript", Does::Command(&["psql", "-c"], 1)),
];

fn does(path: &str) -> Option<Does> {
    let found = |(module, names, does): &(&str, &[&str], Does)| {
        let name = path.strip_prefix(module)?.strip_prefix('.')?;
        names.contains(&name).then_some(*does)
    };
    FUNCTIONS.iter().find_map(found)
}

/// Whether a function may not be handed on unseen.
pub fn is_watched(path: &str) -> bool {
    let harmless = [
        "builtins.open",
        "io.open",
        "os.open",
        "codecs.open",
        "builtins.getattr",
    ];
    does(path).is_some() && !harmless.contains(&path)
}

/// The watched functions of a module.
pub fn watched_of(module: &str) -> impl Iterator<Item = &'static str> {
    let of = FUNCTIONS.iter().filter(move |(name, ..)| *name == module);
    of.flat_map(|(_, names, _)| names.iter().copied())
}

/// Where an expression starts, in bytes.
pub fn start(expression: &Expr) -> u32 {
    match expression {
        Expr::Name(name) => name.range.start().into(),
        Expr::Attribute(attribute) => attribute.range.start().into(),
        Expr::Subscript(subscript) => subscript.range.start().into(),
        _ => 0,
    }
}

impl Reader<'_, '_> {
    /// Follows a call; whether its function is known.
    pub fn call(&mut self, call: &ExprCall) -> bool {
        let path = self.names.path(&call.func);
        let by_path = path.as_deref().and_then(does);
        let by_method = || match &*call.func {
            Expr::Attribute(method) => {
                let known = METHODS
                    .iter()
                    .find(|(name, _)| *name == method.attr.as_str());
                known.map(|(name, does)| ((*name).to_owned(), *does))
            }
            _ => None,
        };
        let Some((through, does)) = path.clone().zip(by_path).or_else(by_method) else {
            self.path_method(call);
            return path.is_some();
        };
        self.follow(&through, does, call);
        true
    }

    fn follow(&mut self, through: &str, does: Does, call: &ExprCall) {
        let offset = u32::from(call.range_start);
        let at = self.place(offset);
        match does {
            Does::Shell => {
                let program = self.argument(call, 0, &["cmd", "command", "args"]);
                self.walker.assembled(through, &program, at);
            }
            Does::Process => self.process(through, call, at),
            Does::Words(from) => {
                let words = call.arguments.args.iter().skip(from);
                let argv: Vec<Word> = words.map(|one| word(one, &self.names)).collect();
                let argv = self.called(call, from, argv);
                self.run(through, &argv, Stream::Inherited, at);
            }
            Does::List(index) => {
                let words = call.arguments.args.get(index);
                let argv = words.and_then(|one| list(one, &self.names));
                match argv {
                    Some(argv) => {
                        let argv = self.called(call, index, argv);
                        self.run(through, &argv, Stream::Inherited, at);
                    }
                    None => self.unknown(Why::DynamicName, offset),
                }
            }
            Does::Command(start, count) => {
                let words = call.arguments.args.iter().take(count);
                let rest = words.map(|one| word(one, &self.names));
                let argv: Vec<Word> = start
                    .iter()
                    .map(|text| Word::text(*text))
                    .chain(rest)
                    .collect();
                self.run(through, &argv, Stream::Nothing, at);
            }
            Does::Open => self.open(call, at),
            Does::Program => self.program(call, at),
            Does::Import | Does::Attribute => self.lookup(does, call, offset),
            Does::Unseen => self.unknown(Why::OtherLanguage, offset),
        }
    }

    /// The words of a call with the program that it names before them.
    fn called(&self, call: &ExprCall, at: usize, mut argv: Vec<Word>) -> Vec<Word> {
        let program = at.checked_sub(1).and_then(|at| call.arguments.args.get(at));
        if let (Some(program), Some(first)) = (program, argv.first_mut()) {
            *first = word(program, &self.names);
        }
        argv
    }

    fn run(&mut self, through: &str, argv: &[Word], input: Stream, at: At) {
        let call = Call::of(Vec::new(), input, at);
        self.walker.inner(through, &call, argv);
    }

    fn argument(&self, call: &ExprCall, index: usize, names: &[&str]) -> Word {
        let given = call
            .arguments
            .args
            .get(index)
            .or_else(|| keyword(call, names));
        given.map_or_else(Word::default, |one| word(one, &self.names))
    }

    fn process(&mut self, through: &str, call: &ExprCall, at: At) {
        let Some(given) = call
            .arguments
            .args
            .first()
            .or_else(|| keyword(call, &["args"]))
        else {
            return self.unknown(Why::DynamicName, u32::from(call.range_start));
        };
        let shell = keyword(call, &["shell"])
            .is_some_and(|one| !matches!(one, Expr::BooleanLiteral(b) if !b.value));
        let words = list(given, &self.names);
        if shell {
            let program = words.and_then(|words| words.first().cloned());
            let program = program.unwrap_or_else(|| word(given, &self.names));
            self.walker.assembled(through, &program, at);
            return;
        }
        let input = match (keyword(call, &["input"]), keyword(call, &["stdin"])) {
            (Some(input), _) => Stream::of(word(input, &self.names)),
            (None, Some(_)) => Stream::Other,
            (None, None) => Stream::Inherited,
        };
        // Without a shell a text is a name, and nothing else.
        let mut words = words.unwrap_or_else(|| vec![word(given, &self.names)]);
        if let (Some(program), Some(first)) = (keyword(call, &["executable"]), words.first_mut()) {
            *first = word(program, &self.names);
        }
        self.run(through, &words, input, at);
    }

    fn open(&mut self, call: &ExprCall, at: At) {
        let mode = self.argument(call, 1, &["mode"]);
        let mode = if mode.parts.is_empty() {
            "r".to_owned()
        } else {
            mode.known().unwrap_or_else(|| "w".to_owned())
        };
        if mode.contains(['w', 'a', 'x', '+']) {
            let file = self.argument(call, 0, &["file"]);
            self.writes(file, at);
        }
    }

    fn writes(&mut self, file: Word, at: At) {
        let outputs = vec![file];
        let writing = Call {
            outputs,
            ..Call::of(vec![Word::text("open")], Stream::Nothing, at)
        };
        self.walker.write(&writing.outputs);
        self.walker.found(&writing, &[], None);
    }

    /// `eval` and `exec`.
    fn program(&mut self, call: &ExprCall, at: At) {
        let program = self.argument(call, 0, &["source"]);
        match program.known() {
            Some(program) => {
                self.walker.within(
                    at,
                    |scope| scope.through.push("exec".to_owned()),
                    |walker| super::walk(walker, &program, at),
                );
            }
            None => self.unknown(Why::DynamicProgram, u32::from(call.range_start)),
        }
    }

    fn lookup(&mut self, does: Does, call: &ExprCall, offset: u32) {
        let (module, name) = match does {
            Does::Attribute => (call.arguments.args.first(), call.arguments.args.get(1)),
            _ => (None, call.arguments.args.first()),
        };
        let known = name.is_some_and(|name| word(name, &self.names).is_known());
        let harmless = matches!(does, Does::Attribute)
            && module.and_then(|one| self.names.path(one)).is_none();
        if !known && !harmless {
            self.unknown(Why::DynamicName, offset);
        }
    }

    /// Methods of `pathlib.Path("…")`.
    fn path_method(&mut self, call: &ExprCall) {
        let Expr::Attribute(method) = &*call.func else {
            return;
        };
        let Expr::Call(made) = &*method.value else {
            return;
        };
        if self.names.path(&method.value).as_deref() != Some("pathlib.Path()") {
            return;
        }
        let at = self.place(u32::from(call.range_start));
        let file = self.argument(made, 0, &[]);
        match method.attr.as_str() {
            "unlink" | "rmdir" => {
                self.run(
                    "pathlib",
                    &[Word::text("rm"), Word::text("-f"), file],
                    Stream::Nothing,
                    at,
                );
            }
            "write_text" | "write_bytes" | "touch" => self.writes(file, at),
            "open" => {
                let mode = self.argument(call, 0, &["mode"]).shown();
                if mode.contains(['w', 'a', 'x', '+']) {
                    self.writes(file, at);
                }
            }
            _ => {}
        }
    }
}

fn keyword<'a>(call: &'a ExprCall, names: &[&str]) -> Option<&'a Expr> {
    let given = call.arguments.keywords.iter();
    let named = given.filter(|one| {
        one.arg
            .as_ref()
            .is_some_and(|arg| names.contains(&arg.as_str()))
    });
    named.map(|one| &one.value).next()
}
