//! Whether a command is what a rule means: on its words, and never on its text.

use crds::v1alpha1::{ArgumentMatch, CommandExcept, CommandMatch, FlagMatch};

use super::{Command, Word, option, path, simple::last};

/// Longest word that is compared; none that is longer is a path or a flag.
const LONGEST: usize = 4096;

/// A command with what rules ask of it, found out once.
pub struct Subject<'a> {
    pub command: &'a Command,
    pub name: String,
    /// Its arguments as texts; what is not known is left out of them.
    arguments: Vec<Argument>,
}

#[derive(Clone)]
struct Argument {
    text: String,
    lower: String,
    /// Every path that it may name.
    paths: Vec<String>,
    /// They are its paths only where all that is not known of it is nothing.
    perhaps: bool,
    is_flag: bool,
}

impl<'a> Subject<'a> {
    pub fn of(command: &'a Command) -> Self {
        let name = command
            .argv
            .first()
            .map(|word| last(&word.shown()).to_owned())
            .unwrap_or_default();
        let rest = command.argv.get(1..).unwrap_or_default();
        Self {
            command,
            name,
            arguments: rest
                .iter()
                .filter_map(|word| argument(word, command.folder.as_deref()))
                .collect(),
        }
    }

    /// Whether everything that the rule gives holds.
    pub fn matches(&self, rule: &CommandMatch) -> bool {
        self.is_named(&rule.commands)
            && (rule.subcommand.is_empty() || self.has_subcommand(&rule.subcommand))
            && rule
                .flags
                .as_ref()
                .is_none_or(|flags| self.has_flags(flags))
            && rule
                .args
                .as_ref()
                .is_none_or(|args| self.has_arguments(args))
            && (rule.redirect_to.is_empty() || self.writes(&rule.redirect_to))
            && (rule.assigns.is_empty() || self.assigns(&rule.assigns))
            && (rule.sql.is_empty() || rule.sql.iter().any(|one| self.command.sql.contains(one)))
            && (rule.shapes.is_empty()
                || self
                    .command
                    .shape
                    .is_some_and(|one| rule.shapes.contains(&one)))
            && !rule
                .unless
                .as_ref()
                .is_some_and(|except| self.is_excepted(except))
    }

    /// Whether it matches whatever the values are that nobody knows yet.
    pub fn surely_matches(&self, rule: &CommandMatch) -> bool {
        if !self.arguments.iter().any(|argument| argument.perhaps) {
            return self.matches(rule);
        }
        let surely = |argument: &Argument| Argument {
            paths: if argument.perhaps {
                Vec::new()
            } else {
                argument.paths.clone()
            },
            ..argument.clone()
        };
        let sure = Self {
            command: self.command,
            name: self.name.clone(),
            arguments: self.arguments.iter().map(surely).collect(),
        };
        sure.matches(rule)
    }

    fn is_named(&self, names: &[String]) -> bool {
        names.is_empty()
            || (!self.name.is_empty()
                && names.iter().any(|name| path::matches_any(name, &self.name)))
    }

    /// The words of the rule follow each other among those of the command; before the first there are only flags and their values.
    fn has_subcommand(&self, wanted: &[String]) -> bool {
        let mut wanted = wanted.iter().peekable();
        let (mut begun, mut after_flag) = (false, false);
        for argument in &self.arguments {
            let Some(words) = wanted.peek() else { break };
            let word = |word: &str| path::matches_any(word, &argument.lower);
            if !argument.is_flag && words.split('|').any(word) {
                wanted.next();
                begun = true;
            } else if !argument.is_flag && !begun && !after_flag {
                return false;
            }
            after_flag = argument.is_flag;
        }
        wanted.peek().is_none()
    }

    fn has_flags(&self, flags: &FlagMatch) -> bool {
        let has = |flag: &String| self.arguments.iter().any(|argument| argument.is(flag));
        (flags.any_of.is_empty() || flags.any_of.iter().any(has)) && flags.all_of.iter().all(has)
    }

    fn has_arguments(&self, args: &ArgumentMatch) -> bool {
        let any = |pattern: &String| {
            let pattern = pattern.to_ascii_lowercase();
            self.arguments
                .iter()
                .any(|argument| path::matches_any(&pattern, &argument.lower))
        };
        let paths = |pattern: &String| {
            self.arguments
                .iter()
                .any(|argument| argument.names(pattern))
        };
        (args.any.is_empty() || args.any.iter().any(any))
            && (args.any_path.is_empty() || args.any_path.iter().any(paths))
            && (args.last_path.is_empty()
                || args.last_path.iter().any(|pattern| self.ends_at(pattern)))
    }

    /// Whether its last word is such a path, or what `-t` names.
    fn ends_at(&self, pattern: &str) -> bool {
        let last = self
            .arguments
            .iter()
            .rev()
            .find(|argument| !argument.is_flag);
        let targets = option::values(
            self.command.argv.get(1..).unwrap_or_default(),
            &["-t", "--target-directory"],
        );
        last.is_some_and(|last| last.names(pattern))
            || targets
                .iter()
                .flat_map(|target| paths(target, None))
                .any(|target| path::matches(pattern, &target))
    }

    fn writes(&self, patterns: &[String]) -> bool {
        let files = self
            .command
            .outputs
            .iter()
            .flat_map(|file| paths(file, self.command.folder.as_deref()));
        files
            .into_iter()
            .any(|file| patterns.iter().any(|pattern| path::matches(pattern, &file)))
    }

    fn assigns(&self, names: &[String]) -> bool {
        let set = |name: &String| {
            self.command
                .assigns
                .iter()
                .any(|set| path::matches_any(name, &set.name))
        };
        names.iter().any(set)
    }

    fn is_excepted(&self, except: &CommandExcept) -> bool {
        let flag = |flag: &String| self.arguments.iter().any(|argument| argument.text == *flag);
        let other = |pattern: &String| {
            self.arguments
                .iter()
                .any(|one| path::matches_any(&pattern.to_ascii_lowercase(), &one.lower))
        };
        except.flags.iter().any(flag) || except.args.iter().any(other)
    }
}

fn argument(word: &Word, folder: Option<&str>) -> Option<Argument> {
    let text: String = match word.as_text() {
        Some(text) => text.to_owned(),
        None => word.least().unwrap_or_else(|| word.shown()),
    };
    if text.len() > LONGEST {
        return None;
    }
    Some(Argument {
        lower: text.to_ascii_lowercase(),
        paths: paths(word, folder),
        perhaps: !word.is_known() && beginning(word).is_none(),
        is_flag: text.len() > 1 && text.starts_with('-') && word.beginning().starts_with('-'),
        text,
    })
}

/// The paths that a word may name: itself, and what follows `=` or `:` in it.
fn paths(word: &Word, folder: Option<&str>) -> Vec<String> {
    let Some(text) = word.known() else {
        return unsure_paths(word)
            .into_iter()
            .flat_map(with_folder)
            .collect();
    };
    if text.len() > LONGEST || text.is_empty() {
        return Vec::new();
    }
    let after = text.find('=').map(|at| &text[at + 1..]);
    let attached = (text.starts_with('-') && !text.starts_with("--"))
        .then(|| text.get(2..))
        .flatten();
    let all = [
        Some(text.as_str()),
        after,
        attached,
        text.split_once(':').map(|(_, rest)| rest),
    ];
    let named = all.into_iter().flatten();
    let named = named.filter(|one| one.starts_with(['/', '~', '.', '*']));
    let mut paths: Vec<String> = named.map(path::normal).flat_map(with_folder).collect();
    // Beside what it is where the program runs, it is what it is in the folder that it went to.
    if let Some(folder) = folder.filter(|_| !text.starts_with(['/', '~', '-'])) {
        paths.extend(with_folder(path::normal(&format!("{folder}/{text}"))));
    }
    paths
}

/// A path, and the folder that it empties.
fn with_folder(path: String) -> impl Iterator<Item = String> {
    let (folder, name) = path.rsplit_once('/').unwrap_or((".", &path));
    let all = matches!(name, "*" | "**" | ".*" | ".[!.]*" | ".??*");
    let folder = if folder.is_empty() { "/" } else { folder };
    let folder = all.then(|| folder.to_owned());
    [Some(path), folder].into_iter().flatten()
}

/// The paths that a word may name of which a part is not known: what is left when that is nothing, and what begins like it.
/// Of a path that begins with what is not known only the root counts, or every path would be one of the system.
fn unsure_paths(word: &Word) -> Vec<String> {
    let begun = beginning(word);
    let least = word.least().map(|least| path::normal(&least));
    let least = least.filter(|least| is_root(least) || begun.is_some());
    least.into_iter().chain(begun).collect()
}

/// A path of which the beginning is known: what comes after it stands for any name.
fn beginning(word: &Word) -> Option<String> {
    let start = word.beginning();
    (start.starts_with('/') && start.len() > 1).then(|| path::normal(&word.shown()))
}

fn is_root(path: &str) -> bool {
    matches!(path, "/" | "/*" | "/**" | "/.*")
}

impl Argument {
    /// Whether it is this flag, alone, in a cluster or cut short.
    fn is(&self, flag: &str) -> bool {
        if self.text == flag {
            return true;
        }
        if !self.is_flag {
            return false;
        }
        if let Some(start) = flag.strip_suffix('*') {
            return self.text.starts_with(start);
        }
        if flag.starts_with("--") {
            let given = self.text.split('=').next().unwrap_or_default();
            return given == flag
                || (given.len() > 3 && given.starts_with("--") && flag.starts_with(given));
        }
        match flag.chars().nth(1) {
            Some(letter) if flag.chars().count() == 2 => {
                option::has_letter(&Word::text(self.text.as_str()), letter)
            }
            _ => false,
        }
    }

    fn names(&self, pattern: &str) -> bool {
        self.paths.iter().any(|path| path::matches(pattern, path))
    }
}
