//! Commands that take a program among their options or words, beside their own work: `git -c core.pager=…`, `tar --to-command=…`.

use super::{
    Why, Word,
    expansion::Mode,
    option,
    simple::{Call, joined},
    stream::Stream,
    walker::Walker,
};

/// Options of commands whose values a shell or the command itself runs.
const CARRIERS: &[(&[&str], &[&str])] = &[
    (
        &["tar", "gtar", "bsdtar", "star"],
        &[
            "--to-command",
            "-I",
            "--use-compress-program",
            "-F",
            "--info-script",
            "--new-volume-script",
            "--rsh-command",
        ],
    ),
    (&["rsync"], &["-e", "--rsh", "--rsync-path"]),
    (&["scp", "sftp"], &["-S"]),
    (&["zip", "unzip"], &["-TT", "--unzip-command"]),
    (&["man", "less", "most"], &["-P", "--pager"]),
    (&["sort"], &["--compress-program"]),
    (&["split"], &["--filter"]),
    (&["tcpdump"], &["-z"]),
    (&["dpkg"], &["--pre-invoke", "--post-invoke"]),
    (&["wget"], &["--use-askpass"]),
    (&["xterm", "konsole", "gnome-terminal", "urxvt"], &["-e"]),
    (&["vagrant"], &["-c", "--command"]),
    (&["gcloud", "az"], &["--command", "--scripts"]),
    (&["bpftrace", "heaptrack"], &["-c"]),
    (
        &["openvpn"],
        &[
            "--up",
            "--down",
            "--route-up",
            "--tls-verify",
            "--client-connect",
        ],
    ),
    (
        &["nc", "ncat", "netcat", "nc.traditional", "nc.openbsd"],
        &["-e", "-c", "--exec", "--sh-exec"],
    ),
    (&["logrotate"], &["-m", "--mail"]),
    (&["rclone"], &["--password-command"]),
    (&["keepalived", "dhclient"], &["-sf"]),
    (&["mailx", "mutt"], &["-S"]),
    (&["rebase", "git-rebase"], &["-x", "--exec"]),
];

/// Options of git itself that take a value in a word of their own.
const GIT_VALUED: &[&str] = &[
    "-c",
    "-C",
    "--git-dir",
    "--work-tree",
    "--namespace",
    "--exec-path",
    "--config-env",
];

/// Verbs of git with options that are run, and those options.
const GIT_RUNNING: &[&str] = &[
    "rebase",
    "clone",
    "fetch",
    "pull",
    "push",
    "filter-branch",
    "difftool",
    "ls-remote",
    "archive",
    "grep",
    "fetch-pack",
];
const GIT_PROGRAMS: &[&str] = &[
    "-x",
    "--exec",
    "--upload-pack",
    "--receive-pack",
    "--tree-filter",
    "--index-filter",
    "--msg-filter",
    "--env-filter",
    "--commit-filter",
    "--tag-name-filter",
    "--parent-filter",
    "--extcmd",
    "-u",
];

/// Settings of git whose values are run, by their names and by how these end.
const GIT_SETTINGS: &[&str] = &[
    "core.pager",
    "core.editor",
    "core.sshcommand",
    "core.fsmonitor",
    "core.askpass",
    "sequence.editor",
    "core.gitproxy",
    "gpg.program",
    "diff.external",
    "credential.helper",
    "web.browser",
    "core.alternaterefscommand",
];
const GIT_ENDINGS: &[&str] = &[
    ".cmd",
    ".command",
    ".textconv",
    ".clean",
    ".smudge",
    ".process",
    ".driver",
    ".helper",
    ".program",
    ".path",
];

impl Walker {
    pub fn carried(&mut self, name: &str, call: &Call) -> Option<Stream> {
        match name {
            "git" => self.git(call),
            "tar" | "gtar" => self.checkpoints(call),
            "socat" => self.socat(call),
            "ssh-keygen" | "ssh-add" | "openssl" => self.library(call),
            "apt-get" | "apt" | "aptitude" => self.apt(call),
            "vim" | "vi" | "nvim" | "ex" | "view" | "vimdiff" | "ed" | "red" => {
                self.editor(name, call);
            }
            "complete" | "compgen" => self.completion(name, call),
            "make" | "gmake" => self.make(call),
            _ => {}
        }
        for (names, options) in CARRIERS {
            if names.contains(&name) {
                for program in option::values(call.arguments(), options) {
                    if !program.shown().is_empty() {
                        self.assembled(name, &program, call.at);
                    }
                }
            }
        }
        None
    }

    /// Words to choose from are read by the shell once more.
    fn completion(&mut self, name: &str, call: &Call) {
        self.option_program(name, call, &["-C"]);
        for words in option::values(call.arguments(), &["-W"]) {
            self.value(&words.shown(), call.at, Mode::Quoted);
        }
    }

    fn checkpoints(&mut self, call: &Call) {
        for action in option::values(call.arguments(), &["--checkpoint-action"]) {
            let text = action.shown();
            if let Some(program) = text.strip_prefix("exec=") {
                self.assembled("tar --checkpoint-action", &Word::text(program), call.at);
            }
        }
    }

    fn git(&mut self, call: &Call) {
        let words = call.arguments();
        for setting in option::values(words, &["-c", "--config-env"]) {
            let text = setting.shown();
            if let Some((name, value)) = text.split_once('=') {
                self.git_setting(name, value, call);
            }
        }
        let start = option::leading(words, GIT_VALUED);
        let rest = words.get(start..).unwrap_or_default();
        let verb = rest.first().map(Word::shown).unwrap_or_default();
        let rest = rest.get(1..).unwrap_or_default();
        self.git_verb(&verb, rest, call);
        if !GIT_RUNNING.contains(&verb.as_str()) {
            return;
        }
        for program in option::values(rest, GIT_PROGRAMS) {
            if verb != "push" && verb != "grep" || program.shown().contains([' ', ';', '/']) {
                self.assembled("git", &program, call.at);
            }
        }
    }

    fn git_verb(&mut self, verb: &str, rest: &[Word], call: &Call) {
        let find = |text: &str| rest.iter().position(|word| word.as_text() == Some(text));
        match verb {
            "config" => {
                let own = |word: &&Word| !word.beginning().starts_with('-');
                let mut own = rest.iter().filter(own);
                if let (Some(name), Some(value)) = (own.next(), own.next()) {
                    self.git_setting(&name.shown(), &value.shown(), call);
                }
            }
            "bisect" if find("run") == Some(0) => {
                self.inner("git bisect run", call, &rest[1..]);
            }
            "submodule" => {
                if let Some(at) = find("foreach") {
                    let start = at + 1 + option::leading(&rest[at + 1..], &[]);
                    self.assembled("git submodule foreach", &joined(&rest[start..]), call.at);
                }
            }
            _ => {}
        }
    }

    /// Settings of git whose values are run.
    fn git_setting(&mut self, name: &str, value: &str, call: &Call) {
        let name = name.to_ascii_lowercase();
        let shell = value.strip_prefix('!');
        let known = GIT_SETTINGS.contains(&name.as_str())
            || GIT_ENDINGS.iter().any(|end| name.ends_with(end));
        let boolean = matches!(
            value,
            "true"
                | "false"
                | "store"
                | "cache"
                | "osxkeychain"
                | "libsecret"
                | "cat"
                | "less"
                | "vim"
                | ""
        );
        match shell {
            Some(program) => drop(self.assembled("git -c", &Word::text(program), call.at)),
            None if known && !boolean => {
                drop(self.assembled("git -c", &Word::text(value), call.at));
            }
            None if name == "core.hookspath" => self.unknown(Why::OtherLanguage, value, call.at),
            None => {}
        }
    }

    /// `EXEC:` and `SYSTEM:` addresses.
    fn socat(&mut self, call: &Call) {
        for word in call.arguments() {
            let text = word.shown();
            let (kind, program) = text.split_once(':').unwrap_or_default();
            if matches!(
                kind.to_ascii_uppercase().as_str(),
                "EXEC" | "SYSTEM" | "SHELL"
            ) {
                let program = program.split(",pty").next().unwrap_or_default();
                self.assembled("socat", &Word::text(program), call.at);
                let input = self.scope.input.clone();
                if input == Stream::Inherited && super::simple::last(program).ends_with("sh") {
                    self.unknown(Why::NoProgram, &text, call.at);
                }
            }
        }
    }

    /// Libraries that are loaded into a command.
    fn library(&mut self, call: &Call) {
        let loads = option::values(call.arguments(), &["-D", "-engine", "-provider-path", "-s"]);
        if loads.iter().any(|word| word.shown().contains(".so")) {
            self.unknown(Why::OtherLanguage, &joined(&call.argv).shown(), call.at);
        }
    }

    fn apt(&mut self, call: &Call) {
        for setting in option::values(call.arguments(), &["-o", "--option"]) {
            let text = setting.shown();
            let (name, program) = text.split_once('=').unwrap_or_default();
            if name.to_ascii_lowercase().contains("invoke")
                || name.to_ascii_lowercase().contains("pager")
            {
                self.assembled("apt -o", &Word::text(program), call.at);
            }
        }
    }

    /// `:!command` in an editor.
    fn editor(&mut self, name: &str, call: &Call) {
        let words = call.arguments();
        let plus = words
            .iter()
            .filter_map(|word| word.beginning().strip_prefix('+').map(|_| word.shown()));
        let given = option::values(words, &["-c", "--cmd", "-s"]);
        let commands: Vec<String> = given.iter().map(Word::shown).chain(plus).collect();
        let from_input = match &call.input {
            Stream::Text(text) => text.lines().map(str::to_owned).collect(),
            Stream::Other
            | Stream::File
            | Stream::Downloaded
            | Stream::Decoded
            | Stream::Mixed(_)
                if name.len() < 4 =>
            {
                self.unknown(Why::InputProgram, name, call.at);
                Vec::new()
            }
            _ => Vec::new(),
        };
        for command in commands.iter().chain(&from_input) {
            if let Some((_, program)) = command.split_once('!') {
                self.assembled(name, &Word::text(program), call.at);
            } else if command.contains("system(")
                || command.contains("py")
                || command.contains("exec")
                || command.contains("source")
            {
                self.unknown(Why::OtherLanguage, command, call.at);
            }
        }
    }

    /// A makefile that is written on the spot, or comes in.
    fn make(&mut self, call: &Call) {
        let words = call.arguments();
        let files = option::values(words, &["-f", "--file", "--makefile"]);
        let comes_in = |word: &Word| {
            matches!(word.shown().as_str(), "-" | "/dev/stdin") || self.is_own_file(word)
        };
        if files.iter().any(comes_in)
            || words
                .iter()
                .any(|word| word.beginning().starts_with("--eval"))
        {
            self.unknown(Why::OtherLanguage, &joined(&call.argv).shown(), call.at);
        }
    }
}
