//! `bench-commands`: how long it takes to find the commands of a line of the shell and to judge them by the built-in rules, and what the longest text that is read
//! takes. Prints a table and, as its last line, JSON. It needs nothing but a processor.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bench::{Report, Result, Row};
use crds::v1alpha1::{CommandPolicySpec, Interpreter};
use decide::command::{Rulebook, Source, analyse, judge};

/// Lines that are known to be harmless and dangerous, and scripts of the examples.
const TEXTS: [&str; 5] = [
    include_str!("../../../../decide/src/command/corpus/harmless.txt"),
    include_str!("../../../../decide/src/command/corpus/dangerous.txt"),
    include_str!("../../../../examples/nightly/30-script.yaml"),
    include_str!("../../../../examples/first-run/40-script.yaml"),
    include_str!("../../../../examples/rolling-restart/30-script.yaml"),
];

/// Lines that are measured.
const LINES: usize = 20_000;

fn main() -> Result<()> {
    let spec: CommandPolicySpec = serde_json::from_str("{}")?;
    let book = Rulebook::of("default", &spec)?;
    let lines = lines();
    let took = |text: &str| {
        let start = Instant::now();
        let source = Source::Script {
            interpreter: Interpreter::Bash,
            text,
        };
        black_box(judge(&analyse(&source), [&book]));
        start.elapsed()
    };
    // The first time fills caches and starts what is started once.
    for line in &lines {
        took(line);
    }
    let repeated = lines.iter().cycle().take(LINES);
    let mut all: Vec<Duration> = repeated.map(|line| took(line)).collect();
    all.sort_unstable();
    let mut report = Report::of("commands");
    report.push(Row::at_most(
        "a line analysed and judged, p50",
        "us",
        microseconds(all[LINES / 2]),
        50.0,
    ));
    report.push(Row::at_most(
        "a line analysed and judged, p99",
        "us",
        microseconds(all[LINES * 99 / 100]),
        100.0,
    ));
    let longest = "rm -f \"$x\" | sort > /tmp/y || exit 1\n".repeat(1_700);
    report.push(Row::at_most(
        "64 KiB of plain lines",
        "ms",
        microseconds(took(&longest)) / 1e3,
        1_000.0,
    ));
    let deep = "echo \"$( ".repeat(190) + &")\"".repeat(190);
    report.push(Row::at_most(
        "190 substitutions within each other",
        "ms",
        microseconds(took(&deep)) / 1e3,
        1_000.0,
    ));
    report.finish()
}

/// Each line of the shell by itself: of a corpus without the rule before it, of a manifest without its indent.
fn lines() -> Vec<String> {
    let all = TEXTS.iter().flat_map(|text| text.lines());
    let shell = all.filter(|line| {
        !line.starts_with("//") && !line.contains("@python") && !line.trim().is_empty()
    });
    let line = shell.map(|line| {
        line.split_once(" | ")
            .filter(|(rule, _)| !rule.contains(' '))
            .map_or(line, |(_, rest)| rest)
    });
    line.map(|line| line.trim().replace('⏎', "\n")).collect()
}

fn microseconds(took: Duration) -> f64 {
    took.as_secs_f64() * 1e6
}
