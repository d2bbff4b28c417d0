//! Commands that run others elsewhere: on a host, in a container, in a pod, on a fleet, at another time.

use super::{
    At, Why, Word, option,
    simple::{Call, joined},
    stream::Stream,
    walker::Walker,
};

const SSH: &[&str] = &[
    "-B", "-b", "-c", "-D", "-E", "-e", "-F", "-I", "-i", "-J", "-L", "-l", "-m", "-O", "-o", "-P",
    "-p", "-Q", "-R", "-S", "-W", "-w",
];

/// Options of kubectl that take a value in a word of its own.
const KUBECTL: &[&str] = &[
    "-n",
    "-c",
    "-f",
    "-l",
    "-o",
    "-s",
    "--namespace",
    "--context",
    "--kubeconfig",
    "--cluster",
    "--user",
    "--container",
    "--image",
    "--as",
    "--token",
    "--server",
    "--pod-running-timeout",
    "--request-timeout",
    "--target",
    "--selector",
];

/// Options of docker and its kin that take a value in a word of its own.
const DOCKER: &[&str] = &[
    "-e",
    "-u",
    "-w",
    "-v",
    "-p",
    "-h",
    "-l",
    "-m",
    "-c",
    "-H",
    "-f",
    "--env",
    "--user",
    "--workdir",
    "--volume",
    "--publish",
    "--name",
    "--network",
    "--net",
    "--entrypoint",
    "--mount",
    "--hostname",
    "--env-file",
    "--label",
    "--memory",
    "--cpus",
    "--cap-add",
    "--cap-drop",
    "--device",
    "--pid",
    "--ipc",
    "--restart",
    "--security-opt",
    "--ulimit",
    "--add-host",
    "--dns",
    "--log-driver",
    "--log-opt",
    "--platform",
    "--pull",
    "--runtime",
    "--tmpfs",
    "--userns",
    "--volumes-from",
    "--context",
    "--host",
    "--index",
    "--file",
    "--project-name",
    "--shm-size",
    "--gpus",
    "--group-add",
    "--expose",
    "--link",
    "--cidfile",
    "--cgroup-parent",
    "--uts",
    "--stop-signal",
    "--annotation",
];

impl Walker {
    pub fn remote(&mut self, name: &str, call: &Call) -> Option<Stream> {
        match name {
            "ssh" | "slogin" | "autossh" | "mosh" | "rsh" => Some(self.ssh(name, call)),
            "pssh" | "parallel-ssh" | "pdsh" | "clush" | "dsh" => Some(self.many(name, call)),
            "kubectl" | "oc" | "k3s" | "microk8s" | "minikube" => self.kubectl(name, call),
            "docker" | "podman" | "nerdctl" | "docker-compose" | "podman-compose" | "crictl"
            | "lxc" | "incus" | "ctr" | "buildah" | "runc" | "crun" | "podman-remote" => {
                self.container(name, call)
            }
            "ansible" | "ansible-console" => Some(self.ansible(call)),
            "salt" | "salt-call" | "salt-ssh" => self.salt(call),
            "at" | "batch" => Some(self.later(name, call)),
            "crontab" => self.crontab(call),
            "tmux" | "screen" | "byobu" => Some(self.terminal(name, call)),
            _ => None,
        }
    }

    fn ssh(&mut self, name: &str, call: &Call) -> Stream {
        let words = call.arguments();
        for setting in option::values(words, &["-o"]) {
            self.ssh_setting(&setting, call);
        }
        let mut start = option::leading(words, SSH) + 1;
        start += option::leading(words.get(start..).unwrap_or_default(), SSH);
        let program = words.get(start..).unwrap_or_default();
        let options = &words[..start.min(words.len())];
        if program.is_empty() {
            let forwards = |word: &Word| {
                ['N', 'O', 'W', 'V', 'Q', 'G', 'f']
                    .iter()
                    .any(|letter| option::has_letter(word, *letter))
            };
            if options.iter().any(forwards) {
                return Stream::Other;
            }
            return self.fed("sh", call);
        }
        self.piped(name, &joined(program), call)
    }

    /// A program that another shell reads, with what comes in.
    fn piped(&mut self, through: &str, program: &Word, call: &Call) -> Stream {
        let outer = std::mem::replace(&mut self.scope.input, call.input.clone());
        let printed = self.assembled(through, program, call.at);
        self.scope.input = outer;
        printed
    }

    fn ssh_setting(&mut self, setting: &Word, call: &Call) {
        let text = setting.shown();
        let (name, program) = text.split_once(['=', ' ']).unwrap_or((text.as_str(), ""));
        let runs = [
            "proxycommand",
            "localcommand",
            "knownhostscommand",
            "remotecommand",
        ];
        if runs.contains(&name.to_ascii_lowercase().as_str()) && program != "none" {
            let program = if setting.is_known() {
                Word::text(program)
            } else {
                setting.clone()
            };
            self.assembled("ssh -o", &program, call.at);
        }
    }

    fn many(&mut self, name: &str, call: &Call) -> Stream {
        let words = call.arguments();
        let valued = [
            "-h", "-H", "-w", "-x", "-l", "-t", "-p", "-o", "-e", "-g", "-f", "-u", "-b", "-X",
            "-R", "-m", "-M",
        ];
        let start = option::leading(words, &valued);
        self.assembled(
            name,
            &joined(words.get(start..).unwrap_or_default()),
            call.at,
        )
    }

    fn kubectl(&mut self, name: &str, call: &Call) -> Option<Stream> {
        let words = call.arguments();
        if matches!(name, "k3s" | "microk8s" | "minikube") {
            let at = words
                .iter()
                .position(|word| word.as_text() == Some("kubectl"))?;
            return Some(self.inner(name, call, &words[at..]));
        }
        let verb_at = option::leading(words, KUBECTL);
        let verb = words.get(verb_at).and_then(Word::as_text)?;
        if !matches!(
            verb,
            "exec" | "run" | "debug" | "rsh" | "attach" | "node-shell"
        ) {
            return None;
        }
        let rest = &words[verb_at + 1..];
        let dashes = rest.iter().position(|word| word.as_text() == Some("--"));
        let inner = match dashes {
            Some(at) => &rest[at + 1..],
            // Older clients take the command after the name of the pod.
            None if matches!(verb, "exec" | "rsh") => {
                let pod = option::leading(rest, KUBECTL) + 1;
                let after = rest.get(pod..).unwrap_or_default();
                let options = option::leading(after, KUBECTL);
                after.get(options..).unwrap_or_default()
            }
            None => &[],
        };
        let options = &rest[..dashes.unwrap_or(rest.len())];
        self.terminal_options(options, call);
        if inner.is_empty() {
            return matches!(verb, "rsh" | "attach" | "node-shell").then(|| self.interactive(call));
        }
        Some(self.inner(&format!("{name} {verb}"), call, inner))
    }

    /// A terminal is for what nobody sees.
    fn terminal_options(&mut self, options: &[Word], call: &Call) {
        let asks = |word: &Word| option::has_letter(word, 't') || word.beginning() == "--tty";
        if options.iter().any(asks) {
            self.interactive(call);
        }
    }

    fn interactive(&mut self, call: &Call) -> Stream {
        self.unknown(Why::Interactive, &joined(&call.argv).shown(), call.at);
        Stream::Other
    }

    fn container(&mut self, name: &str, call: &Call) -> Option<Stream> {
        let words = call.arguments();
        let runs = |word: &Word| matches!(word.as_text(), Some("exec" | "run" | "create"));
        let verb_at = words.iter().position(runs)?;
        let before = &words[..verb_at];
        let groups = ["container", "compose", "task", "tasks", "t"];
        let plain = |word: &Word| {
            word.beginning().starts_with('-') || groups.contains(&word.shown().as_str())
        };
        if option::leading(words, DOCKER) < verb_at && !before.iter().any(plain) {
            return None;
        }
        let rest = &words[verb_at + 1..];
        let options = option::leading(rest, DOCKER);
        self.terminal_options(&rest[..options.min(rest.len())], call);
        for program in option::values(&rest[..options.min(rest.len())], &["--entrypoint"]) {
            let arguments = rest.get(options + 1..).unwrap_or_default();
            let argv = [&[program], arguments].concat();
            self.inner(&format!("{name} run"), call, &argv);
        }
        let mut inner = rest.get(options + 1..).unwrap_or_default();
        if inner
            .first()
            .is_some_and(|word| word.as_text() == Some("--"))
        {
            inner = &inner[1..];
        }
        if inner.is_empty() {
            return None;
        }
        Some(self.inner(&format!("{name} {}", words[verb_at].shown()), call, inner))
    }

    fn ansible(&mut self, call: &Call) -> Stream {
        let words = call.arguments();
        let module = option::values(words, &["-m", "--module-name"]);
        let module = module.first().map(Word::shown).unwrap_or_default();
        if module.is_empty()
            || ["command", "shell", "raw", "win_shell"]
                .iter()
                .any(|m| module.ends_with(m))
        {
            self.option_program("ansible", call, &["-a", "--args"]);
        }
        Stream::Other
    }

    fn salt(&mut self, call: &Call) -> Option<Stream> {
        let words = call.arguments();
        let at = words
            .iter()
            .position(|word| word.beginning().starts_with("cmd."))?;
        let program = words.get(at + 1).cloned().unwrap_or_default();
        Some(self.assembled("salt cmd.run", &program, call.at))
    }

    /// `at` and `batch` read a program of the shell.
    fn later(&mut self, name: &str, call: &Call) -> Stream {
        let words = call.arguments();
        let files = option::values(words, &["-f"]);
        let only = |word: &Word| {
            ['l', 'd', 'r', 'c', 'V']
                .iter()
                .any(|letter| option::has_letter(word, *letter))
        };
        if words.iter().any(only) {
            return Stream::Other;
        }
        if let Some(file) = files.first() {
            let script = call.with(vec![Word::text("source"), file.clone()]);
            return self.source(&script);
        }
        self.fed(name, call)
    }

    /// The lines of a table of cron: five fields or a word such as @daily, and a program of the shell.
    fn crontab(&mut self, call: &Call) -> Option<Stream> {
        let Stream::Text(text) = &call.input else {
            let reads = call
                .arguments()
                .iter()
                .any(|word| word.as_text() == Some("-"));
            return reads.then(|| self.fed("crontab", call));
        };
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_start();
            let fields = if line.starts_with('@') { 1 } else { 5 };
            let mut rest = line;
            for _ in 0..fields {
                rest = rest
                    .trim_start()
                    .split_once([' ', '\t'])
                    .map_or("", |(_, rest)| rest);
            }
            let at = At {
                line: call
                    .input_at
                    .line
                    .saturating_add(u32::try_from(index).unwrap_or(0)),
                column: 1,
            };
            if !line.starts_with('#') && !rest.trim().is_empty() {
                self.assembled("crontab", &Word::text(rest), at);
            }
        }
        Some(Stream::Nothing)
    }

    /// Multiplexers of terminals run programs, and type them into others.
    fn terminal(&mut self, name: &str, call: &Call) -> Stream {
        let words = call.arguments();
        let has = |text: &str| words.iter().any(|word| word.as_text() == Some(text));
        if has("stuff") || has("send-keys") || has("send") || has("-X") {
            self.unknown(Why::InputProgram, &joined(&call.argv).shown(), call.at);
            return Stream::Other;
        }
        let valued = [
            "-s", "-n", "-t", "-c", "-S", "-L", "-f", "-x", "-y", "-e", "-F", "-h", "-p", "-T",
        ];
        let mut start = option::leading(words, &valued);
        let verbs = [
            "new",
            "new-session",
            "new-window",
            "neww",
            "split-window",
            "splitw",
            "respawn-pane",
            "respawn-window",
            "run-shell",
            "run",
            "if-shell",
            "pipe-pane",
        ];
        if name == "tmux" {
            let verb = words.get(start).map(Word::shown).unwrap_or_default();
            if !verbs.contains(&verb.as_str()) {
                return Stream::Other;
            }
            start += 1;
            start += option::leading(&words[start..], &valued);
        }
        let inner = words.get(start..).unwrap_or_default();
        match inner {
            [] => Stream::Other,
            [program] => self.assembled(name, program, call.at),
            inner => self.inner(name, call, inner),
        }
    }
}
