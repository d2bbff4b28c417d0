//! The script that puts a file on a host. What is in it, and where it belongs, reach the script as environment, so that no text becomes a command.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use crds::v1alpha1::{FileOci, FileStep};
use serde_json::Value;

use crate::Refusal;

/// Bytes of a file that comes from the cluster, at most; it travels with each request to a host.
pub const MOST: usize = 512 << 10;
/// Bytes of encoded content in one variable; a kernel takes no longer ones.
const PIECE: usize = 96 << 10;
/// Variables that hold the whole of the longest content.
const PIECES: usize = (MOST.div_ceil(3) * 4).div_ceil(PIECE);

/// Puts the file together beside its place, and moves it there once it is what it has to be.
pub const SCRIPT: &str = r#"set -eu
umask 077
fail() { echo "$1" >&2; exit 1; }
folder=$(dirname -- "$FILE_PATH")
[ -d "$folder" ] || fail "there is no folder $folder on this host"
# Whoever can change a folder on the way could have root write where a link leads.
can_be_changed() {
  [ "$(id -u)" = 0 ] || return 1
  [ "$(stat -c %u -- "$1")" = 0 ] || return 0
  [ ! -L "$1" ] || return 1
  case "$(stat -c '%A %g' -- "$1")" in
  ?????????[tT]*) return 1 ;;
  ????????w* | ?????w*[!\ 0] | ?????w*[!\ ]0) return 0 ;;
  esac
  return 1
}
for at in "$folder" "$(cd -P -- "$folder" && pwd -P)"; do
  while ! can_be_changed "$at"; do
    [ "$at" != / ] || continue 2
    at=$(dirname -- "$at")
  done
  fail "others than root can change $at, and could lead the file elsewhere; set runAs, or take it from them"
done
[ ! -d "$FILE_PATH" ] || fail "$FILE_PATH is a folder"
# What curl needs to be let in by a registry, for its standard input: nobody reads it there.
login=
login() {
  asks=$(curl --silent --head --proto =http,https -- "$FILE_URL" | tr -d '\r' | sed -n 's/^[Ww][Ww][Ww]-[Aa]uthenticate: *//p' | head -n 1)
  of() { printf %s "$asks" | sed -n "s/.*[ ,]$1=\"\([^\"]*\)\".*/\1/p"; }
  user=
  [ -z "$FILE_LOGIN" ] || user=$(printf 'user = "%s"' "$(printf %s "$FILE_LOGIN" | sed 's/[\\"]/\\&/g')")
  case "$asks" in
  [Bb]earer*)
    proto='=http,https'
    [ "${FILE_URL#https}" = "$FILE_URL" ] || proto='=https'
    token=$(printf %s "$user" | curl --silent --show-error --fail --location --proto "$proto" --config - --get \
      --data-urlencode "service=$(of service)" --data-urlencode "scope=$(of scope)" -- "$(of realm)" |
      tr -d '\n' | sed -n 's/.*"\(access_\)\{0,1\}token" *: *"\([^"]*\)".*/\2/p')
    [ -n "$token" ] || fail "the registry lets nobody in with this login"
    printf 'header = "Authorization: Bearer %s"' "$token"
    ;;
  [Bb]asic*) printf %s "$user" ;;
  esac
}
new=$(mktemp "$folder/.pilothouse-XXXXXXXX")
trap 'rm -f -- "$new"' EXIT
trap 'exit 143' TERM INT HUP
if [ -z "$FILE_URL" ]; then
  printf %s "$FILE_0$FILE_1$FILE_2$FILE_3$FILE_4$FILE_5$FILE_6$FILE_7" | base64 -d >"$new"
else
  if command -v curl >/dev/null; then
    set -- curl --silent --show-error --fail --location --proto =http,https --config - --output "$new" --
    [ -z "$FILE_OCI" ] || login=$(login)
  elif [ -n "$FILE_OCI" ]; then
    fail "this host has no curl, which loads artifacts"
  elif command -v wget >/dev/null; then
    set -- wget -q -O "$new" --
  else
    fail "this host has neither curl nor wget"
  fi
  # In blocks of 512 bytes.
  (printf %s "$login" | (ulimit -f $(((FILE_MOST + 511) / 512)) && exec "$@" "$FILE_URL")) || fail "$FILE_URL was not loaded, or has more than $FILE_MOST bytes"
fi
sum=$(sha256sum <"$new"); sum=${sum%% *}
[ "$sum" = "$FILE_SHA256" ] || fail "what was loaded has the sha256 $sum, not $FILE_SHA256"
[ -z "$FILE_OWNER" ] || chown -- "$FILE_OWNER" "$new"
chmod "$FILE_MODE" "$new"
is_there() {
  [ -f "$FILE_PATH" ] && [ ! -L "$FILE_PATH" ] || return 1
  old=$(sha256sum <"$FILE_PATH")
  [ "${old%% *}" = "$sum" ] && [ "$(stat -c '%u %g %a' -- "$new")" = "$(stat -c '%u %g %a' -- "$FILE_PATH")" ]
}
if is_there; then echo "$FILE_PATH is as it has to be: sha256 $sum"; exit 0; fi
if [ -e "$FILE_PATH" ] && [ "$FILE_BACKUPS" -gt 0 ]; then
  n=$FILE_BACKUPS
  while [ "$n" -gt 1 ]; do
    [ ! -e "$FILE_PATH.bak$((n - 1))" ] || mv -fT -- "$FILE_PATH.bak$((n - 1))" "$FILE_PATH.bak$n"
    n=$((n - 1))
  done
  # By way of a name that nobody can have taken.
  kept=$(mktemp "$folder/.pilothouse-XXXXXXXX")
  trap 'rm -f -- "$new" "$kept"' EXIT
  cp -af -- "$FILE_PATH" "$kept"
  mv -fT -- "$kept" "$FILE_PATH.bak1"
fi
sync "$new" 2>/dev/null || sync
mv -fT -- "$new" "$FILE_PATH"
echo "$FILE_PATH is written: sha256 $sum"
"#;

/// Refuses what is too long to travel.
pub fn fits(step: &str, bytes: usize) -> Result<(), Refusal> {
    if bytes <= MOST {
        return Ok(());
    }
    let message = format!(
        "steps.{step}.file has {bytes} bytes and the limit is {MOST}; let the host load it from a url"
    );
    Err(Refusal::new("FileTooLarge", message))
}

/// What a file holds, as the script is told of it: encoded in base64, or loaded by the host.
#[derive(Default)]
pub struct Held<'a> {
    pub base64: &'a str,
    pub url: String,
    pub sha256: String,
    /// Bytes that are loaded, at most.
    pub most: i64,
    /// User and password where the URL is a registry's, empty where none are given.
    pub login: Option<String>,
}

/// Where a registry has a layer of an artifact, and the registry as logins name it.
pub fn blob(step: &str, oci: &FileOci, repository: &str) -> Result<(String, String), Refusal> {
    let refused = |why: &str| {
        let message = format!("steps.{step}.file.oci.repository is {repository:?}: {why}");
        Refusal::new("BadRepository", message)
    };
    let (registry, path) = repository
        .split_once('/')
        .filter(|(registry, _)| registry.contains(['.', ':']) || *registry == "localhost")
        .ok_or_else(|| refused("write the registry in front, such as ghcr.io/acme/tools"))?;
    let of_path = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let of_registry = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    if !path.chars().all(of_path)
        || path
            .split('/')
            .any(|part| part.trim_matches('.').is_empty())
    {
        return Err(refused(
            "write the repository alone; sha256 says which layer of it",
        ));
    }
    if !registry.chars().all(of_registry) {
        return Err(refused(
            "the registry is a name or an address, with a port where it has one",
        ));
    }
    let scheme = if oci.plain_http { "http" } else { "https" };
    let (host, path) = match (registry, path.contains('/')) {
        ("docker.io", true) => ("registry-1.docker.io", path.to_owned()),
        ("docker.io", false) => ("registry-1.docker.io", format!("library/{path}")),
        _ => (registry, path.to_owned()),
    };
    let url = format!("{scheme}://{host}/v2/{path}/blobs/sha256:{}", oci.sha256);
    Ok((url, registry.to_owned()))
}

/// User and password for a registry, from the content of a Secret as `docker login` writes it; none where they are more than a line.
pub fn login(config: &[u8], registry: &str) -> Option<String> {
    let config: Value = serde_json::from_slice(config).ok()?;
    let logins = config["auths"].as_object()?;
    let of_registry = |name: &str| {
        let host = name.split_once("://").map_or(name, |(_, rest)| rest);
        let host = host.split('/').next().unwrap_or_default();
        host == registry || (registry == "docker.io" && host == "index.docker.io")
    };
    let (_, login) = logins.iter().find(|(name, _)| of_registry(name))?;
    let parts = (login["username"].as_str(), login["password"].as_str());
    let both = if let (Some(user), Some(password)) = parts {
        format!("{user}:{password}")
    } else {
        let both = BASE64_STANDARD.decode(login["auth"].as_str()?).ok()?;
        String::from_utf8(both).ok()?
    };
    // What curl reads line by line must not become another of its options.
    Some(both).filter(|both| !both.contains(char::is_control))
}

/// The environment of the script; the path has its templates filled in.
pub fn environment(step: &FileStep, path: String, held: Held<'_>) -> BTreeMap<String, String> {
    let mut pieces = held.base64.as_bytes().chunks(PIECE);
    let piece = |n| {
        let piece = pieces.next().unwrap_or_default();
        let piece = String::from_utf8(piece.to_vec()).expect("base64 is ASCII");
        (format!("FILE_{n}"), piece)
    };
    let pieces: Vec<_> = (0..PIECES).map(piece).collect();
    let values = [
        ("FILE_PATH", path),
        ("FILE_URL", held.url),
        ("FILE_OCI", held.login.iter().map(|_| "1").collect()),
        ("FILE_LOGIN", held.login.unwrap_or_default()),
        ("FILE_MOST", held.most.to_string()),
        ("FILE_SHA256", held.sha256),
        ("FILE_OWNER", step.owner.clone().unwrap_or_default()),
        ("FILE_MODE", step.mode.clone()),
        ("FILE_BACKUPS", step.backups.to_string()),
    ];
    let values = values.map(|(name, value)| (name.to_owned(), value));
    values.into_iter().chain(pieces).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_found_by_its_repository_and_digest() {
        let oci = |plain_http| FileOci {
            sha256: "0a".into(),
            plain_http,
            ..FileOci::default()
        };
        let found = |repository, plain| blob("s", &oci(plain), repository).map_err(|r| r.message);
        for (repository, plain, url, registry) in [
            (
                "ghcr.io/acme/tools",
                false,
                "https://ghcr.io/v2/acme/tools/blobs/sha256:0a",
                "ghcr.io",
            ),
            (
                "localhost/a",
                true,
                "http://localhost/v2/a/blobs/sha256:0a",
                "localhost",
            ),
            (
                "10.0.0.1:5000/a",
                true,
                "http://10.0.0.1:5000/v2/a/blobs/sha256:0a",
                "10.0.0.1:5000",
            ),
            (
                "docker.io/busybox",
                false,
                "https://registry-1.docker.io/v2/library/busybox/blobs/sha256:0a",
                "docker.io",
            ),
        ] {
            assert_eq!(found(repository, plain), Ok((url.into(), registry.into())));
        }
        for (repository, why) in [
            ("acme/tools", "registry in front"),
            ("ghcr.io", "registry in front"),
            ("ghcr.io/acme/tools:1", "repository alone"),
            ("ghcr.io/acme/tools@sha256:0a", "repository alone"),
            ("ghcr.io/acme/../x", "repository alone"),
            ("me@ghcr.io/acme", "a name or an address"),
        ] {
            let said = found(repository, false).expect_err(repository);
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn a_login_is_for_its_registry_alone() {
        let config = br#"{"auths": {"https://ghcr.io/": {"auth": "YW46YTpi"}, "https://index.docker.io/v1/": {"username": "me", "password": "p"}}}"#;
        assert_eq!(login(config, "ghcr.io").as_deref(), Some("an:a:b"));
        assert_eq!(login(config, "docker.io").as_deref(), Some("me:p"));
        assert_eq!(login(config, "evil.example"), None);
        assert_eq!(login(b"no JSON", "ghcr.io"), None);
        let lines =
            br#"{"auths": {"ghcr.io": {"username": "me", "password": "p\noutput = /etc/passwd"}}}"#;
        assert_eq!(login(lines, "ghcr.io"), None, "options for curl");
    }

    #[test]
    fn the_longest_content_fits_the_variables_that_the_script_reads() {
        let step = FileStep::default();
        let base64 = "A".repeat(MOST.div_ceil(3) * 4);
        let held = Held {
            base64: &base64,
            ..Held::default()
        };
        let environment = environment(&step, "/etc/a".into(), held);
        let pieces = (0..PIECES).map(|n| environment[&format!("FILE_{n}")].as_str());
        assert_eq!(pieces.collect::<String>(), base64);
        assert!(SCRIPT.contains(&format!("$FILE_{}\"", PIECES - 1)));
        for (name, value) in &environment {
            assert!(SCRIPT.contains(name.as_str()), "{name}");
            assert!(value.len() < 128 << 10, "{name}");
        }
    }
}
