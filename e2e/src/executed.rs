//! Programs that were seen to start, read from what strace writes of `execve` and `execveat`.

use std::iter::Peekable;

/// A program that was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    /// Its file, as the kernel was given it.
    pub file: String,
    pub argv: Vec<String>,
}

impl Executed {
    /// What the program is called, whatever it was told that it is called; one that starts itself again is what it was told.
    pub fn name(&self) -> &str {
        let file = if ["", "/proc/self/exe"].contains(&&*self.file) {
            self.argv.first().map_or("", String::as_str)
        } else {
            &self.file
        };
        file.rsplit('/').next().unwrap_or_default()
    }
}

/// Every program that was started, in the order of the lines. A call that failed started nothing.
///
/// # Errors
///
/// The line of a call that cannot be read to its end: what is overlooked here would be overlooked for good.
pub fn executed(trace: &str) -> Result<Vec<Executed>, String> {
    let calls = trace.lines().filter_map(|line| {
        let call = ["execve(", "execveat("];
        let at = call
            .iter()
            .find_map(|call| Some(line.find(call)? + call.len()))?;
        let is_prefix = |c: char| c.is_ascii_alphanumeric() || "[]( ".contains(c);
        // A call of another kind may have the name of this one among its arguments.
        line[..at].chars().all(is_prefix).then_some((line, at))
    });
    let started = calls.filter(|(line, _)| !line.contains(" = -1 E") && !line.contains(" = ? "));
    started
        .map(|(line, at)| {
            let whole = line.trim_end().ends_with(" = 0");
            let read = whole.then(|| call(&line[at..])).flatten();
            read.ok_or_else(|| line.to_owned())
        })
        .collect()
}

/// The file and the arguments of a call; nothing where any of it is cut short.
fn call(arguments: &str) -> Option<Executed> {
    let quote = arguments.find('"')?;
    let mut characters = arguments[quote..].chars().peekable();
    let file = text(&mut characters)?;
    (characters.next()?, characters.next()?, characters.next()?)
        .eq(&(',', ' ', '['))
        .then_some(())?;
    let mut argv = Vec::new();
    while *characters.peek()? != ']' {
        if !argv.is_empty() {
            (characters.next()?, characters.next()?)
                .eq(&(',', ' '))
                .then_some(())?;
        }
        argv.push(text(&mut characters)?);
    }
    Some(Executed { file, argv })
}

/// A text in quotes, in which strace writes bytes as C does.
fn text(characters: &mut Peekable<impl Iterator<Item = char>>) -> Option<String> {
    characters.next_if_eq(&'"')?;
    let mut bytes = Vec::new();
    loop {
        match characters.next()? {
            '"' => break,
            '\\' => bytes.push(escaped(characters)?),
            other => bytes.extend(other.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn escaped(characters: &mut Peekable<impl Iterator<Item = char>>) -> Option<u8> {
    Some(match characters.next()? {
        'n' => b'\n',
        't' => b'\t',
        'r' => b'\r',
        'v' => 0x0b,
        'f' => 0x0c,
        digit @ '0'..='7' => {
            let mut value = digit.to_digit(8)?;
            for _ in 0..2 {
                if let Some(next) = characters.next_if(|c| c.is_digit(8)) {
                    value = value * 8 + next.to_digit(8)?;
                }
            }
            u8::try_from(value).ok()?
        }
        other => u8::try_from(other).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(file: &str, argv: &[&str]) -> Executed {
        Executed {
            file: file.to_owned(),
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        }
    }

    #[test]
    fn every_program_that_was_started_is_read_with_its_words() {
        let trace = r#"
execve("/usr/bin/ls", ["ls", "-l", "a b"], 0x7ffd /* 5 vars */) = 0
[pid  12] execve("./x", ["x"], ["A=]", "B=\"1\""]) = 0
12 execve("/bin/sh", ["sh", "-c", "echo \"a\\n\"\n\tls \303\251\0012"], 0x1 /* 1 var */) = 0
execveat(3, "", ["tool"], 0x1 /* 1 var */, AT_EMPTY_PATH) = 0
execve("/none", [], NULL) = 0
"#;
        let read = executed(trace).expect("it is whole");
        assert_eq!(
            read,
            [
                one("/usr/bin/ls", &["ls", "-l", "a b"]),
                one("./x", &["x"]),
                one("/bin/sh", &["sh", "-c", "echo \"a\\n\"\n\tls é\u{1}2"]),
                one("", &["tool"]),
                one("/none", &[]),
            ]
        );
        let names: Vec<&str> = read.iter().map(Executed::name).collect();
        assert_eq!(names, ["ls", "x", "sh", "tool", "none"]);
    }

    #[test]
    fn a_call_that_failed_and_whatever_else_is_traced_started_nothing() {
        let trace = r#"
execve("/sbin/ls", ["ls"], 0x7ffd /* 5 vars */) = -1 ENOENT (No such file or directory)
execve("/bin/ls", ["ls"], 0x7ffd /* 5 vars */) = ? <unavailable>
write(1, "execve(\"/bin/ls\", [\"ls\"]) = 0", 30) = 0
--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED} ---
+++ exited with 0 +++
"#;
        assert_eq!(executed(trace), Ok(Vec::new()));
    }

    #[test]
    fn a_call_that_is_cut_short_is_told_and_not_left_out() {
        for line in [
            r#"execve("/bin/ls", ["ls", "aaa"...], 0x7ffd /* 5 vars */) = 0"#,
            r#"execve("/bin/ls", ["ls", ...], 0x7ffd /* 5 vars */) = 0"#,
            r#"execve("/bin/ls", ["ls" <unfinished ...>"#,
            r#"execve(0x7ffd, ["ls"], NULL) = 0"#,
        ] {
            assert_eq!(executed(line), Err(line.to_owned()));
        }
    }
}
