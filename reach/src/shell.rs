//! Text that a host's shell will read.

use crate::ssh::Target;

/// One word, whatever it holds.
pub(crate) fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A POSIX shell script as one command line, through `sudo -n` where the target needs it. The login shell may be any.
pub(crate) fn as_root(target: &Target, script: &str) -> String {
    let sudo = if target.escalates() { "sudo -n " } else { "" };
    format!("{sudo}sh -c {}", quote(script))
}

/// The same as another user of the host: by sudo, or by root's own means.
pub(crate) fn as_user(target: &Target, user: &str, script: &str) -> String {
    let become_user = if target.user == "root" {
        "runuser -u"
    } else {
        "sudo -n -u"
    };
    format!("{become_user} {} -- sh -c {}", quote(user), quote(script))
}

/// Enters a folder, or does `absent` where there is none. `$unsafe` then says what is wrong with it: it must be the user's own and closed to others, and no link
/// may lead to it.
pub(crate) fn private_folder(folder: &str, absent: &str) -> String {
    let folder = quote(folder);
    format!(
        "d={folder}; unsafe=; [ -e \"$d\" ] || [ -L \"$d\" ] || {absent}; \
         if ! cd \"$d\"; then unsafe='it cannot be entered'; \
         elif [ \"$(pwd -P)\" != \"$d\" ]; then unsafe='a link leads to it'; \
         else s=$(stat -c '%u %a' .); [ \"$s\" = \"$(id -u) 700\" ] || unsafe=\"owner and mode are $s\"; fi;"
    )
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn a_quoted_word_is_one_word() {
        assert_eq!(quote("it's $HOME"), r"'it'\''s $HOME'");
    }
}
