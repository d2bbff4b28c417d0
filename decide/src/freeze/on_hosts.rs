//! Actions on hosts as the scripts that do them. They run as root and reach their values as environment, so that no text becomes a command.

use std::collections::BTreeMap;

use crds::v1alpha1::{ActionStep, PackageHold, ServiceState, UnitState};

use crate::plan::{ScriptBody, Value};

const SERVICE: &str = r#"set -eu
command -v systemctl >/dev/null || { echo "this host has no systemctl" >&2; exit 127; }
systemctl "$VERB" -- "$UNIT"
case "$VERB" in
stop) ! systemctl --quiet is-active -- "$UNIT" || { echo "$UNIT is still active" >&2; exit 1; } ;;
*) systemctl --quiet is-active -- "$UNIT" || { systemctl --no-pager status -- "$UNIT" >&2; exit 1; } ;;
esac
echo "$VERB of $UNIT done"
"#;

/// It has no end of its own: the machine's end is its end.
const REBOOT: &str = r#"set -eu
echo "$PILOTHOUSE_OUTPUT boot_id=$(cat /proc/sys/kernel/random/boot_id)"
sync
if command -v systemctl >/dev/null; then systemctl --no-block reboot; else reboot; fi
exec sleep 2147483647
"#;

const PACKAGE_HOLD: &str = r#"set -eu
printf '%s\n' "$PACKAGES" | while IFS= read -r package; do
  case "$package" in
  '' | -* | *[!a-zA-Z0-9.+:_-]*) echo "not a package name: $package" >&2; exit 2 ;;
  esac
  if command -v apt-mark >/dev/null; then
    if [ "$HELD" = true ]; then apt-mark hold "$package"; else apt-mark unhold "$package"; fi
  elif command -v dnf >/dev/null; then
    if [ "$HELD" = true ]; then dnf -q versionlock add "$package"; else dnf -q versionlock delete "$package"; fi
  elif command -v zypper >/dev/null; then
    if [ "$HELD" = true ]; then zypper -q addlock "$package"; else zypper -q removelock "$package"; fi
  else
    echo "this host has none of apt-mark, dnf and zypper" >&2; exit 127
  fi
done
"#;

/// The script of an action on hosts; none where it is one on objects.
pub fn script(action: &ActionStep) -> Option<ScriptBody> {
    if let Some(service) = &action.service {
        return Some(of_service(service));
    }
    if action.reboot.is_some() {
        return Some(ScriptBody {
            reboots: true,
            ..body(REBOOT, [])
        });
    }
    action.package_hold.as_ref().map(of_hold)
}

fn of_service(service: &ServiceState) -> ScriptBody {
    let verb = match service.state {
        UnitState::Started => "start",
        UnitState::Stopped => "stop",
        UnitState::Restarted => "restart",
        UnitState::Reloaded => "reload",
    };
    body(
        SERVICE,
        [("UNIT", service.unit.clone()), ("VERB", verb.to_owned())],
    )
}

fn of_hold(hold: &PackageHold) -> ScriptBody {
    let packages = hold.packages.join("\n");
    body(
        PACKAGE_HOLD,
        [("PACKAGES", packages), ("HELD", hold.held.to_string())],
    )
}

fn body<const N: usize>(content: &str, env: [(&str, String); N]) -> ScriptBody {
    let env = env.map(|(name, text)| (name.to_owned(), Value::Text(text)));
    ScriptBody {
        content: content.to_owned(),
        env: BTreeMap::from(env),
        of_action: true,
        ..ScriptBody::default()
    }
}
