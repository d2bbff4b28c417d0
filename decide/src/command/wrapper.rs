//! Commands that run another command with its own words: `sudo`, `env`, `timeout`, `busybox` and their like.

use super::{
    Why, Word,
    names::Value,
    option,
    simple::{Call, joined},
    stream::Stream,
    walker::Walker,
};

/// How a wrapper's own words end.
struct Wrapper {
    /// Its names.
    names: &'static [&'static str],
    /// Options that take a value in a word of its own.
    valued: &'static [&'static str],
    /// Words of its own after the options.
    operands: usize,
    /// Whether words such as `A=b` set variables.
    sets: bool,
}

const fn wrapper(
    names: &'static [&'static str],
    valued: &'static [&'static str],
    operands: usize,
) -> Wrapper {
    Wrapper {
        names,
        valued,
        operands,
        sets: false,
    }
}

const WRAPPERS: &[Wrapper] = &[
    Wrapper {
        names: &["sudo"],
        valued: &[
            "-u",
            "-g",
            "-h",
            "-p",
            "-C",
            "-D",
            "-r",
            "-t",
            "-T",
            "-U",
            "-R",
            "--user",
            "--group",
            "--host",
            "--prompt",
            "--chdir",
            "--close-from",
            "--role",
            "--type",
            "--chroot",
            "--command-timeout",
            "--other-user",
        ],
        operands: 0,
        sets: true,
    },
    Wrapper {
        names: &["doas"],
        valued: &["-u", "-C"],
        operands: 0,
        sets: true,
    },
    Wrapper {
        names: &["env"],
        valued: &["-u", "-C", "-a", "--unset", "--chdir", "--argv0"],
        operands: 0,
        sets: true,
    },
    wrapper(&["nice"], &["-n", "--adjustment"], 0),
    wrapper(&["ionice"], &["-c", "-n", "--class", "--classdata"], 0),
    wrapper(
        &[
            "nohup",
            "setsid",
            "command",
            "builtin",
            "busybox",
            "toybox",
            "catchsegv",
            "fakeroot",
            "eatmydata",
            "chronic",
            "ifne",
            "unbuffer",
            "dbus-run-session",
            "torsocks",
            "linux32",
            "linux64",
            "i386",
            "x86_64",
            "noglob",
            "nocorrect",
            "valgrind",
            "tini",
            "dumb-init",
            "firejail",
        ],
        &[],
        0,
    ),
    wrapper(&["proxychains", "proxychains4"], &["-f"], 0),
    wrapper(&["pkexec"], &["--user", "-u"], 0),
    wrapper(
        &["stdbuf"],
        &["-i", "-o", "-e", "--input", "--output", "--error"],
        0,
    ),
    wrapper(&["ssh-agent"], &["-a", "-t", "-E", "-P"], 0),
    wrapper(&["xvfb-run"], &["-n", "-s", "-e", "-f", "-p", "-w"], 0),
    wrapper(
        &["setpriv"],
        &[
            "--reuid",
            "--regid",
            "--groups",
            "--inh-caps",
            "--ambient-caps",
            "--bounding-set",
            "--securebits",
            "--pdeathsig",
            "--selinux-label",
            "--apparmor-profile",
        ],
        0,
    ),
    wrapper(
        &["chpst", "softlimit"],
        &[
            "-u", "-U", "-b", "-e", "-n", "-l", "-m", "-d", "-o", "-p", "-f", "-c", "-t", "-a",
            "-s",
        ],
        0,
    ),
    wrapper(&["timeout"], &["-k", "-s", "--kill-after", "--signal"], 1),
    wrapper(&["time"], &["-f", "-o", "--format", "--output"], 0),
    wrapper(&["exec"], &["-a"], 0),
    wrapper(&["chroot"], &[], 1),
    wrapper(&["gosu", "su-exec", "setuidgid"], &[], 1),
    wrapper(
        &["nsenter"],
        &["-t", "-S", "-G", "--target", "--setuid", "--setgid"],
        0,
    ),
    wrapper(
        &["unshare"],
        &[
            "-S",
            "-G",
            "-R",
            "--setuid",
            "--setgid",
            "--root",
            "--propagation",
        ],
        0,
    ),
    wrapper(&["bwrap"], &[], 0),
    wrapper(&["taskset"], &[], 1),
    wrapper(&["chrt"], &["-T", "-P", "-D"], 1),
    wrapper(&["numactl"], &["-m", "-N", "-C", "-p", "-i"], 0),
    wrapper(&["prlimit"], &["-p"], 0),
    wrapper(&["cpulimit"], &["-l", "-p", "-e", "--limit"], 0),
    wrapper(
        &["strace", "ltrace"],
        &["-e", "-o", "-p", "-s", "-E", "-u", "-a", "-S", "-P"],
        0,
    ),
    wrapper(&["perf"], &["-e", "-o", "-F"], 1),
    wrapper(&["sshpass"], &["-p", "-f", "-d", "-P"], 0),
    wrapper(
        &["systemd-run"],
        &[
            "-p",
            "-u",
            "-M",
            "-H",
            "-E",
            "-d",
            "--property",
            "--unit",
            "--machine",
            "--host",
            "--setenv",
            "--uid",
            "--gid",
            "--nice",
            "--slice",
            "--description",
            "--on-calendar",
            "--on-active",
            "--on-boot",
            "--on-startup",
            "--on-unit-active",
            "--timer-property",
            "--working-directory",
            "--service-type",
        ],
        0,
    ),
    wrapper(
        &["systemd-inhibit"],
        &["--what", "--who", "--why", "--mode"],
        0,
    ),
    wrapper(
        &["systemd-cat"],
        &["-t", "-p", "--identifier", "--priority"],
        0,
    ),
    wrapper(
        &["start-stop-daemon"],
        &[
            "--pidfile",
            "-p",
            "--exec",
            "-x",
            "--name",
            "-n",
            "-u",
            "--user",
            "--chuid",
            "-c",
            "--chdir",
            "-d",
            "--startas",
            "-a",
            "--signal",
            "-s",
        ],
        0,
    ),
    wrapper(
        &["daemonize", "daemon"],
        &["-p", "-u", "-c", "-e", "-o", "-n"],
        0,
    ),
    wrapper(&["retry"], &["-t", "-d"], 0),
    wrapper(&["lxc-attach"], &["-n", "--name"], 0),
    wrapper(&["machinectl"], &[], 2),
    wrapper(
        &["aa-exec", "runcon"],
        &["-p", "-t", "-u", "-r", "-l", "--profile"],
        0,
    ),
];

impl Walker {
    /// Follows the command that this one runs.
    pub fn unwrap(&mut self, name: &str, call: &Call) -> Option<Stream> {
        match name {
            "env" if splits(call.arguments()) => return Some(self.split(call)),
            "flock" => return Some(self.lock(call)),
            "watch" => return Some(self.watch(call)),
            "su" | "runuser" => return Some(self.user(name, call)),
            "setarch" => return Some(self.architecture(call)),
            "script" | "sg" => return Some(self.option_program(name, call, &["-c", "--command"])),
            "ip" => return self.network(call),
            _ => {}
        }
        let wrapper = WRAPPERS
            .iter()
            .find(|wrapper| wrapper.names.contains(&name))?;
        let words = call.arguments();
        // `command -v x` only looks for it.
        if name == "command"
            && words
                .first()
                .is_some_and(|w| option::has_letter(w, 'v') || option::has_letter(w, 'V'))
        {
            return Some(Stream::Text(String::new()));
        }
        let mut start = option::leading(words, wrapper.valued) + wrapper.operands;
        while wrapper.sets
            && let Some((variable, value)) = words.get(start).and_then(|word| given(name, word))
        {
            self.given(variable, value, call);
            start += 1;
            start += option::leading(&words[start..], wrapper.valued);
        }
        let inner = words.get(start..).unwrap_or_default();
        if inner.is_empty() {
            return self.alone(name, call);
        }
        let printed = self.inner(name, call, inner);
        // Was it the value of an option that is not known here?
        let before = start.checked_sub(1).and_then(|at| words.get(at));
        let doubtful = before
            .is_some_and(|word| word.beginning().starts_with('-') && word.beginning() != "--");
        if doubtful && inner.get(1).is_some_and(|word| word.as_text().is_some()) {
            self.inner(name, call, &inner[1..]);
        }
        Some(printed)
    }

    /// A variable that is set for a command; bash takes functions from its environment.
    fn given(&mut self, variable: &str, value: Word, call: &Call) {
        if variable.starts_with("BASH_FUNC_") {
            self.unknown(Why::DynamicProgram, &value.shown(), call.at);
        }
        if !variable.is_empty() {
            self.hand(variable, Value::Scalar(value), call.at);
        }
    }

    /// A wrapper without a command may start a shell.
    fn alone(&mut self, name: &str, call: &Call) -> Option<Stream> {
        let words = call.arguments();
        let shell = |letter| words.iter().any(|word| option::has_letter(word, letter));
        let starts = match name {
            "sudo" | "doas" => {
                shell('i') || shell('s') || words.iter().any(|w| w.beginning() == "--login")
            }
            "chroot" | "nsenter" | "unshare" | "lxc-attach" | "newgrp" => true,
            _ => false,
        };
        if starts {
            return Some(self.begun(&[], call, |walker| walker.fed(name, call)));
        }
        let exec = option::values(words, &["--exec", "-x", "--startas"]);
        if name == "start-stop-daemon" && !exec.is_empty() {
            return Some(self.inner(name, call, &exec));
        }
        None
    }

    /// `env -S 'A=b rm -rf /'`.
    fn split(&mut self, call: &Call) -> Stream {
        let words = call.arguments();
        let index = words
            .iter()
            .position(|w| splitting(w).is_some())
            .unwrap_or(0);
        let text = words.get(index).and_then(splitting).unwrap_or_default();
        let (text, rest) = if text.is_empty() && words[index].parts.len() < 2 {
            (
                words.get(index + 1).cloned().unwrap_or_default(),
                words.get(index + 2..),
            )
        } else {
            let mut word = Word::text(text);
            words[index].parts[1..]
                .iter()
                .for_each(|part| word.push(part.clone()));
            (word, words.get(index + 1..))
        };
        if !text.is_known() {
            self.unknown(Why::DynamicProgram, &text.shown(), call.at);
        }
        let pieces = text
            .shown()
            .split_ascii_whitespace()
            .map(Word::text)
            .collect::<Vec<_>>();
        let argv = [
            &[Word::text("env")],
            pieces.as_slice(),
            rest.unwrap_or_default(),
        ]
        .concat();
        self.inner("env -S", call, &argv)
    }

    /// `flock FILE rm x` and `flock FILE -c 'rm x'`.
    fn lock(&mut self, call: &Call) -> Stream {
        let words = call.arguments();
        let start = option::leading(
            words,
            &["-w", "-E", "--timeout", "--conflict-exit-code", "--wait"],
        ) + 1;
        let inner = words.get(start..).unwrap_or_default();
        match inner {
            [flag, program, ..] if matches!(flag.beginning(), "-c" | "--command") => {
                self.assembled("flock -c", program, call.at)
            }
            inner => self.inner("flock", call, inner),
        }
    }

    /// `setarch x86_64 -R rm x` and `setarch -R rm x`.
    fn architecture(&mut self, call: &Call) -> Stream {
        let words = call.arguments();
        let start = option::leading(words, &[]);
        let rest = words.get(start..).unwrap_or_default();
        let after = rest.get(1..).unwrap_or_default();
        if start == 0 {
            let further = option::leading(after, &[]);
            return self.inner("setarch", call, after.get(further..).unwrap_or_default());
        }
        // Whether the first word is an architecture or the command depends on the machine.
        self.inner("setarch", call, after);
        self.inner("setarch", call, rest)
    }

    fn watch(&mut self, call: &Call) -> Stream {
        let words = call.arguments();
        let start = option::leading(words, &["-n", "-q", "--interval", "--equexit"]);
        let inner = words.get(start..).unwrap_or_default();
        if words[..start.min(words.len())]
            .iter()
            .any(|word| option::has_letter(word, 'x'))
        {
            return self.inner("watch", call, inner);
        }
        self.assembled("watch", &joined(inner), call.at)
    }

    /// `su - user -c '…'` and `runuser -u user -- rm x`.
    fn user(&mut self, name: &str, call: &Call) -> Stream {
        let words = call.arguments();
        let programs = option::values(words, &["-c", "--command", "--session-command"]);
        if !programs.is_empty() {
            return self.option_program(name, call, &["-c", "--command", "--session-command"]);
        }
        let valued = [
            "-u",
            "-g",
            "-G",
            "-s",
            "-w",
            "--user",
            "--group",
            "--shell",
            "--supp-group",
        ];
        let start = option::leading(words, &valued);
        let named = option::values(words, &["-u", "--user"]);
        let inner = words.get(start..).unwrap_or_default();
        if name == "runuser" && !named.is_empty() && !inner.is_empty() {
            return self.inner(name, call, inner);
        }
        self.begun(&[], call, |walker| walker.fed(name, call))
    }

    /// The programs that an option gives.
    pub fn option_program(&mut self, name: &str, call: &Call, options: &[&str]) -> Stream {
        let mut printed = Stream::Other;
        for program in option::values(call.arguments(), options) {
            printed = self.assembled(&format!("{name} {}", options[0]), &program, call.at);
        }
        printed
    }

    /// `ip netns exec NAME rm x`.
    fn network(&mut self, call: &Call) -> Option<Stream> {
        let words = call.arguments();
        let at = words
            .iter()
            .position(|word| word.as_text() == Some("exec"))?;
        let inner = words.get(at + 2..)?;
        Some(self.inner("ip netns exec", call, inner))
    }
}

/// A word such as `A=b`.
pub fn set(word: &Word) -> Option<(&str, Word)> {
    let (name, value) = word.beginning().split_once('=')?;
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let mut rest = Word::text(value);
    word.parts[1..]
        .iter()
        .for_each(|part| rest.push(part.clone()));
    is_name.then_some((name, rest))
}

/// A word that sets a variable for the command of a wrapper. To `env` every name is one, and a dash alone is an option.
fn given<'a>(wrapper: &str, word: &'a Word) -> Option<(&'a str, Word)> {
    if wrapper != "env" {
        return set(word);
    }
    let (name, value) = match word.beginning() {
        "-" => ("", ""),
        text => text.split_once('=')?,
    };
    let mut rest = Word::text(value);
    word.parts[1..]
        .iter()
        .for_each(|part| rest.push(part.clone()));
    Some((name, rest))
}

fn splits(words: &[Word]) -> bool {
    let leading = words
        .iter()
        .take_while(|w| w.beginning().starts_with('-') || set(w).is_some());
    leading.into_iter().any(|word| splitting(word).is_some())
}

/// What follows `-S` in the same word.
fn splitting(word: &Word) -> Option<&str> {
    let text = word.beginning();
    if let Some(rest) = text.strip_prefix("--split-string") {
        return Some(rest.strip_prefix('=').unwrap_or(rest));
    }
    let short = text.starts_with('-') && !text.starts_with("--");
    let at = text.find('S').filter(|_| short)?;
    let flags = text[1..at].bytes().all(|b| matches!(b, b'i' | b'v' | b'0'));
    flags.then(|| &text[at + 1..])
}
