//! Story: whatever a script is seen to start on a real host was found in its text before, or the script was held.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use crds::v1alpha1::{CommandAction, CommandPolicySpec, Interpreter};
use decide::command::{Analysis, Command, Part, Rulebook, Source, Word, analyse, judge};
use e2e::{
    executed::{Executed, executed},
    guest::HOSTS,
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    name: String,
    #[serde(default)]
    interpreter: Interpreter,
    /// Whether what it runs cannot be known, so that a policy must hold it.
    #[serde(default)]
    held: bool,
    text: String,
}

fn samples() -> Vec<Sample> {
    serde_saphyr::from_str(include_str!("predicted.yaml")).expect("the samples are written well")
}

impl Sample {
    fn interpreter(&self) -> &'static str {
        match self.interpreter {
            Interpreter::Shell => "/bin/sh",
            Interpreter::Bash => "bash",
            Interpreter::Python => "python3",
        }
    }

    fn analysis(&self) -> Analysis {
        analyse(&Source::Script {
            interpreter: self.interpreter,
            text: &self.text,
        })
    }

    /// What starts it in a folder of its own, and prints every program that it starts.
    fn traced(&self) -> String {
        let text = STANDARD.encode(&self.text);
        let interpreter = self.interpreter();
        format!(
            "folder=$(mktemp -d /var/lib/predicted.XXXXXX)\ntrap 'rm -rf \"$folder\"' EXIT\nmkdir \"$folder/work\"\ncd \"$folder/work\"\n\
            echo {text} | base64 -d > ../script\n\
            timeout 120 strace -ff -qq -e trace=execve,execveat -e signal=none -e abbrev=none -s 65536 -o ../trace {interpreter} ../script < /dev/null > ../said 2>&1\n\
            code=$?\ncat ../trace.*\ncat ../said >&2\nexit $code\n"
        )
    }

    /// What it was seen to start, without itself.
    fn started(&self) -> Vec<Executed> {
        let trace = HOSTS[0].sh(&self.traced());
        let all = executed(&trace)
            .unwrap_or_else(|line| panic!("{}: this cannot be read: {line}", self.name));
        let own = |one: &Executed| one.argv == [self.interpreter(), "../script"];
        assert!(all.iter().any(own), "{} was not traced: {trace}", self.name);
        all.into_iter().filter(|one| !own(one)).collect()
    }
}

/// Whether words may have become these: each that is known is there, and each that is not is any number of words.
fn fits(words: &[Word], argv: &[String]) -> bool {
    let Some((first, rest)) = words.split_first() else {
        return argv.is_empty();
    };
    // Which descriptor a process substitution gets is the shell's choice.
    let piece = |text: &str| text.starts_with("/dev/fd/");
    let is = |text: &str, word: &String| word == text || piece(text) && piece(word);
    match first.as_text() {
        Some(text) => argv.first().is_some_and(|word| is(text, word)) && fits(rest, &argv[1..]),
        None => (0..=argv.len()).any(|taken| fits(rest, &argv[taken..])),
    }
}

/// Whether a command that was found is a program that was started.
fn is(command: &Command, started: &Executed) -> bool {
    let Some(Part::Text(end)) = command.argv.first().and_then(|word| word.parts.last()) else {
        return false;
    };
    let name = end.rsplit('/').next().unwrap_or_default();
    // What these give it is only known when they run.
    let given = |through: &String| through.starts_with("find ") || through == "xargs";
    let arguments = started.argv.get(1..).unwrap_or_default();
    name == started.name()
        && (command.through.iter().any(given) || fits(&command.argv[1..], arguments))
}

/// Whether a shell that was started runs nothing but what was found: `system`, `flock -c` and their like give their text to one.
fn is_of_another(analysis: &Analysis, started: &Executed) -> bool {
    let shells = ["sh", "bash", "dash"];
    let arguments = started.argv.get(1..).unwrap_or_default();
    let text = match arguments {
        [flag, text] if flag == "-c" => text,
        [flag, end, text] if flag == "-c" && end == "--" => text,
        _ => return false,
    };
    if !shells.contains(&started.name()) {
        return false;
    }
    let interpreter = Interpreter::Bash;
    let within = analyse(&Source::Script { interpreter, text });
    let found = |command: &Command| analysis.commands.iter().any(|c| c.argv == command.argv);
    within.unknowns.is_empty() && within.commands.iter().all(found)
}

/// What sudo and su have PAM ask about the account, whatever the script says.
const OF_PAM: &str = "/usr/sbin/unix_chkpwd";

fn is_predicted(analysis: &Analysis, started: &Executed) -> bool {
    let found = |command: &Command| is(command, started);
    started.file == OF_PAM
        || analysis.commands.iter().any(found)
        || is_of_another(analysis, started)
}

/// Whether the policy that is there by default lets nobody run it without approval.
fn is_held(analysis: &Analysis) -> bool {
    let spec: CommandPolicySpec = serde_json::from_str("{}").expect("all has defaults");
    let book = Rulebook::of("default", &spec).expect("the default is a policy");
    judge(analysis, [&book]).action >= CommandAction::RequireApproval
}

#[test]
fn what_is_held_and_what_passes_is_as_the_samples_say() {
    let samples = samples();
    assert!((40..=120).contains(&samples.len()), "{}", samples.len());
    let differs = |sample: &&Sample| is_held(&sample.analysis()) != sample.held;
    let differ: Vec<_> = samples.iter().filter(differs).map(|s| &s.name).collect();
    assert!(differ.is_empty(), "{differ:#?}");
}

#[test]
fn a_command_is_known_by_its_words_and_what_is_dynamic_may_be_any() {
    let started = |words: &[&str]| Executed {
        file: format!("/bin/{}", words[0]),
        argv: words.iter().map(|word| (*word).to_owned()).collect(),
    };
    for (text, words, expected) in [
        ("ls -l /", &["ls", "-l", "/"][..], true),
        ("ls -l /", &["ls", "-l"], false),
        ("ls -l", &["ls", "-l", "/"], false),
        ("ls -l", &["id", "-l"], false),
        ("ls $x /", &["ls", "/"], true),
        ("ls $x /", &["ls", "a", "b", "/"], true),
        ("ls $x /", &["ls", "a"], false),
        ("ls *", &["ls", "a", "b"], true),
        ("/bin/ls", &["ls"], true),
        ("cat <(ls)", &["cat", "/dev/fd/62"], true),
        ("find . -exec ls {} +", &["ls", "./a", "./b"], true),
        ("flock f -c 'ls -l'", &["sh", "-c", "ls -l"], true),
        ("flock f -c 'ls -l'", &["sh", "-c", "--", "ls -l"], true),
        ("flock f -c 'ls -l'", &["sh", "-c", "ls -a"], false),
        ("flock f -c 'ls -l'", &["sh", "-c", "$x"], false),
    ] {
        let analysis = analyse(&Source::Script {
            interpreter: Interpreter::Shell,
            text,
        });
        assert_eq!(
            is_predicted(&analysis, &started(words)),
            expected,
            "{text} and {words:?}"
        );
    }
}

#[test]
fn every_program_that_a_script_starts_was_predicted_or_the_script_was_held() {
    let mut missed = String::new();
    for sample in samples() {
        let started = sample.started();
        assert!(!started.is_empty(), "{} starts nothing", sample.name);
        let analysis = sample.analysis();
        if is_held(&analysis) {
            continue;
        }
        for one in started.iter().filter(|one| !is_predicted(&analysis, one)) {
            writeln!(missed, "{}: {} {:?}", sample.name, one.file, one.argv).expect("a text");
        }
    }
    assert!(missed.is_empty(), "missed:\n{missed}");
}
