//! Who a run runs as. The files are read here rather than by the C library, which in a static program would load parts of the host's own; a user
//! from elsewhere (LDAP, SSSD) is asked for with the host's `getent` and `id`.

use std::fs;
use std::process::{Command, Stdio};

use nix::unistd::{Gid, Uid, geteuid};

use crate::error::Error;

/// Longest name that is looked up.
const NAME_BYTES: usize = 256;

/// A local user, ready to be become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: Uid,
    pub gid: Gid,
    pub groups: Vec<Gid>,
    pub home: String,
    pub shell: String,
}

impl Account {
    /// The user of that name, or the toolkit's own.
    pub fn find(name: Option<&str>) -> Result<Self, Error> {
        let own = geteuid();
        let found = match name {
            None => by_uid(own),
            Some(name) => by_name(name)?,
        };
        if found.uid != own && !own.is_root() {
            return Err(Error::UnknownUser(format!(
                "the toolkit is not root and can not become {}; name no user, or let it run as root",
                found.name
            )));
        }
        Ok(found)
    }
}

fn by_uid(uid: Uid) -> Account {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = passwd
        .lines()
        .find(|line| line.split(':').nth(2) == Some(&uid.to_string()));
    // A user without an entry is still one: containers start programs under bare numbers.
    line.and_then(|line| parse(line, &local_groups()))
        .unwrap_or_else(|| Account {
            name: uid.to_string(),
            uid,
            gid: nix::unistd::getegid(),
            groups: Vec::new(),
            home: "/".into(),
            shell: "/bin/sh".into(),
        })
}

fn by_name(name: &str) -> Result<Account, Error> {
    let unknown = || {
        Error::UnknownUser(format!(
            "this host has no user {:?}; create it, or name another in runAs",
            name.chars().take(NAME_BYTES).collect::<String>()
        ))
    };
    let plain = |c: char| c.is_alphanumeric() || "._-@+\\$".contains(c);
    if name.is_empty()
        || name.len() > NAME_BYTES
        || name.starts_with('-')
        || !name.chars().all(plain)
    {
        return Err(unknown());
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    if let Some(line) = passwd
        .lines()
        .find(|line| line.split(':').next() == Some(name))
    {
        return parse(line, &local_groups()).ok_or_else(unknown);
    }
    let line = ask(&["getent", "passwd", "--", name]).ok_or_else(unknown)?;
    let mut account = parse(line.trim(), "").ok_or_else(unknown)?;
    let groups = ask(&["id", "-G", "--", name]).ok_or_else(unknown)?;
    account.groups = groups
        .split_whitespace()
        .filter_map(|id| id.parse().ok().map(Gid::from_raw))
        .collect();
    Ok(account)
}

fn local_groups() -> String {
    fs::read_to_string("/etc/group").unwrap_or_default()
}

/// Reads one line of `passwd`, with the lines of `group`.
fn parse(line: &str, groups: &str) -> Option<Account> {
    let fields: Vec<&str> = line.split(':').collect();
    let &[name, _, uid, gid, _, home, shell] = fields.as_slice() else {
        return None;
    };
    let gid = Gid::from_raw(gid.parse().ok()?);
    let member_of = groups.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (id, members) = (fields.nth(2)?.parse().ok()?, fields.next()?);
        members
            .split(',')
            .any(|member| member == name)
            .then(|| Gid::from_raw(id))
    });
    let mut all: Vec<Gid> = std::iter::once(gid).chain(member_of).collect();
    all.dedup();
    Some(Account {
        name: name.into(),
        uid: Uid::from_raw(uid.parse().ok()?),
        gid,
        groups: all,
        home: if home.is_empty() {
            "/".into()
        } else {
            home.into()
        },
        shell: if shell.is_empty() {
            "/bin/sh".into()
        } else {
            shell.into()
        },
    })
}

fn ask(argv: &[&str]) -> Option<String> {
    let mut command = Command::new(argv[0]);
    command
        .args(&argv[1..])
        .env_clear()
        .env("PATH", crate::program::PATH)
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let answer = command
        .output()
        .ok()
        .filter(|answer| answer.status.success())?;
    String::from_utf8(answer.stdout).ok()
}

#[cfg(test)]
mod tests {
    use nix::unistd::{Gid, Uid};

    use super::{Account, parse};

    #[test]
    fn a_user_has_the_groups_that_name_it() {
        let groups =
            "root:x:0:\nadm:x:4:syslog,ann\nann:x:1000:\ndocker:x:998:ann\nann2:x:5:annika";
        let account = parse("ann:x:1000:1000:Ann,,,:/home/ann:/bin/bash", groups).expect("account");
        let ids = |all: &[u32]| all.iter().copied().map(Gid::from_raw).collect::<Vec<_>>();
        assert_eq!(
            (account.uid, account.gid),
            (Uid::from_raw(1000), Gid::from_raw(1000))
        );
        assert_eq!(account.groups, ids(&[1000, 4, 998]));
        assert_eq!(
            (account.home.as_str(), account.shell.as_str()),
            ("/home/ann", "/bin/bash")
        );
    }

    #[test]
    fn nobody_unknown_is_found() {
        for name in ["", "-x", "no-such-user-here", "a:b", "a\nb", "../x"] {
            assert!(Account::find(Some(name)).is_err(), "{name:?}");
        }
        assert!(parse("short:x:1", "").is_none());
        assert!(parse("a:x:notanumber:1::/:/bin/sh", "").is_none());
    }

    #[test]
    fn without_a_name_it_is_the_toolkits_own_user() {
        assert_eq!(
            Account::find(None).expect("own").uid,
            nix::unistd::geteuid()
        );
    }
}
