//! The script that puts a file on a host. What is in it, and where it belongs, reach the script as environment, so that no text becomes a command.

use std::collections::BTreeMap;

use crds::v1alpha1::FileStep;

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
new=$(mktemp "$folder/.pilothouse-XXXXXXXX")
trap 'rm -f -- "$new"' EXIT
trap 'exit 143' TERM INT HUP
if [ -z "$FILE_URL" ]; then
  printf %s "$FILE_0$FILE_1$FILE_2$FILE_3$FILE_4$FILE_5$FILE_6$FILE_7" | base64 -d >"$new"
else
  if command -v curl >/dev/null; then
    set -- curl --silent --show-error --fail --location --proto =http,https --output "$new" --
  elif command -v wget >/dev/null; then
    set -- wget -q -O "$new" --
  else
    fail "this host has neither curl nor wget"
  fi
  # In blocks of 512 bytes.
  (ulimit -f $(((FILE_MOST + 511) / 512)) && exec "$@" "$FILE_URL") || fail "$FILE_URL was not loaded, or has more than $FILE_MOST bytes"
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

/// What a file holds, as the script is told of it.
pub enum Held<'a> {
    /// Encoded in base64, with the digest of what was encoded.
    Here { base64: &'a str, sha256: String },
    /// Loaded by the host.
    There {
        url: String,
        sha256: String,
        most: i64,
    },
}

/// The environment of the script; the path has its templates filled in.
pub fn environment(step: &FileStep, path: String, held: Held<'_>) -> BTreeMap<String, String> {
    let (base64, url, sha256, most) = match held {
        Held::Here { base64, sha256 } => (base64, String::new(), sha256, 0),
        Held::There { url, sha256, most } => ("", url, sha256, most),
    };
    let mut pieces = base64.as_bytes().chunks(PIECE);
    let piece = |n| {
        let piece = pieces.next().unwrap_or_default();
        let piece = String::from_utf8(piece.to_vec()).expect("base64 is ASCII");
        (format!("FILE_{n}"), piece)
    };
    let pieces: Vec<_> = (0..PIECES).map(piece).collect();
    let values = [
        ("FILE_PATH", path),
        ("FILE_URL", url),
        ("FILE_MOST", most.to_string()),
        ("FILE_SHA256", sha256),
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
    fn the_longest_content_fits_the_variables_that_the_script_reads() {
        let step = FileStep::default();
        let base64 = "A".repeat(MOST.div_ceil(3) * 4);
        let sha256 = String::new();
        let held = Held::Here {
            base64: &base64,
            sha256,
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
