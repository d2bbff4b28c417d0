//! Paths as the kernel reads them, and patterns of them.

/// Without doubled slashes, `.` and `..`, and without a slash at its end.
pub fn normal(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." if kept.last().is_some_and(|last| *last != "..") => drop(kept.pop()),
            ".." if path.starts_with('/') => {}
            name => kept.push(name),
        }
    }
    let joined = kept.join("/");
    match path.starts_with('/') {
        true => format!("/{joined}"),
        false if joined.is_empty() && !path.is_empty() => ".".to_owned(),
        false => joined,
    }
}

/// Whether a pattern matches the whole text: `*` stands for any characters but the slash, `**` for any, `?` for one.
pub fn matches(pattern: &str, path: &str) -> bool {
    like(pattern.as_bytes(), path.as_bytes(), Some(b'/'))
}

/// Whether a pattern matches the whole text: `*` stands for any characters, `?` for one.
pub fn matches_any(pattern: &str, text: &str) -> bool {
    like(pattern.as_bytes(), text.as_bytes(), None)
}

/// Goes back to the last star alone, and to the last double star, so the work stays a product of lengths.
fn like(pattern: &[u8], text: &[u8], barrier: Option<u8>) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on after a star, and from which byte on it stands for more.
    let mut single: Option<(usize, usize)> = None;
    let mut double: Option<(usize, usize)> = None;
    loop {
        let stars = pattern[p..]
            .iter()
            .take_while(|byte| **byte == b'*')
            .count();
        if stars > 0 {
            p += stars;
            if stars > 1 || barrier.is_none() {
                (double, single) = (Some((p, t)), None);
            } else {
                single = Some((p, t));
            }
        } else if t == text.len() && p == pattern.len() {
            return true;
        } else if let Some(length) = text
            .get(t)
            .and_then(|byte| one(&pattern[p..], *byte, barrier))
        {
            (p, t) = (p + length, t + 1);
        } else if let Some((after, from)) =
            single.filter(|(_, from)| text.get(*from).is_some_and(|byte| Some(*byte) != barrier))
        {
            single = Some((after, from + 1));
            (p, t) = (after, from + 1);
        } else if let Some((after, from)) = double.filter(|(_, from)| *from < text.len()) {
            (double, single) = (Some((after, from + 1)), None);
            (p, t) = (after, from + 1);
        } else {
            return false;
        }
    }
}

/// How much of a pattern stands for this byte: `?` for any but the barrier, and what follows a backslash for itself.
fn one(pattern: &[u8], byte: u8, barrier: Option<u8>) -> Option<usize> {
    match *pattern {
        [b'\\', itself, ..] => (itself == byte).then_some(2),
        [b'?', ..] => (Some(byte) != barrier).then_some(1),
        [itself, ..] => (itself == byte).then_some(1),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_as_the_kernel_does() {
        for (written, read) in [
            ("/", "/"),
            ("//", "/"),
            ("/./", "/"),
            ("/etc/../", "/"),
            ("/../..", "/"),
            ("//etc//passwd/", "/etc/passwd"),
            ("a/./b/../c", "a/c"),
            ("../x", "../x"),
            ("~/", "~"),
            ("./", "."),
            ("", ""),
        ] {
            assert_eq!(normal(written), read, "{written}");
        }
    }

    #[test]
    fn stars_stop_at_slashes_and_double_stars_do_not() {
        for (pattern, path, expected) in [
            ("/etc/**", "/etc/a/b", true),
            ("/etc/*", "/etc/a/b", false),
            ("/etc/*", "/etc/a", true),
            ("/dev/sd*", "/dev/sda1", true),
            ("**/x/*", "/a/b/x/c", true),
            ("**/x/*", "/x/b/x/c/d", false),
            ("/*", "/", true),
            ("/a", "/a/b", false),
            ("**", "", true),
            ("/?*", "/a", true),
            ("/?*", "/", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
        assert!(matches_any("a*c", "a/b/c") && !matches_any("a*c", "abd"));
        let long = "a".repeat(4000);
        assert!(!matches(&"*a".repeat(60), &(long + "b")));
    }
}
