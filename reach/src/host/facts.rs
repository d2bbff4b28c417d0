//! What a machine says of itself, read with nothing copied to it and nothing changed on it.

use std::collections::HashMap;

use crds::v1alpha1::Facts;
use tokio::time::{Instant, timeout_at};

use crate::{
    shell::quote,
    ssh::{Error, Fleet, SeenKey, Target},
};

/// A look at a machine.
#[derive(Clone, Debug)]
pub struct Seen {
    pub facts: Facts,
    /// The key it showed; on first use the caller pins it.
    pub host_key: SeenKey,
}

/// Most of an answer that is read.
const ANSWER: usize = 8192;

/// One `name=value` a line; a fact that cannot be read is empty.
const SCRIPT: &str = r#"
f() { printf '%s=%s\n' "$1" "$2"; }
f os "$(. /etc/os-release 2>/dev/null && printf %s "$PRETTY_NAME" || uname -s)"
f kernel "$(uname -r)"
f arch "$(uname -m)"
f bootID "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)"
f machineID "$(cat /etc/machine-id 2>/dev/null || cat /var/lib/dbus/machine-id 2>/dev/null)"
f cpus "$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null)"
f memoryKiB "$(sed -n 's/^MemTotal: *\([0-9]*\) kB$/\1/p' /proc/meminfo 2>/dev/null)"
"#;

/// Looks at the machine.
pub async fn facts(fleet: &Fleet, target: &Target, deadline: Instant) -> Result<Seen, Error> {
    let session = fleet.session(target, deadline).await?;
    let host_key = session.host_key().clone();
    let looking = async {
        session
            .exec(&format!("sh -c {}", quote(SCRIPT)), "")
            .await?
            .finish(ANSWER)
            .await
    };
    let lost = |_| Error::ConnectionLost {
        address: target.endpoint(),
    };
    let finished = timeout_at(deadline, looking).await.map_err(lost)??;
    Ok(Seen {
        facts: parse(&String::from_utf8_lossy(&finished.stdout)),
        host_key,
    })
}

fn parse(answer: &str) -> Facts {
    let told: HashMap<_, _> = answer
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    let text = |name, bound| -> String {
        let value = told.get(name).copied().unwrap_or_default().trim();
        value
            .chars()
            .filter(|c| !c.is_control())
            .take(bound)
            .collect()
    };
    Facts {
        os: text("os", 128),
        kernel: text("kernel", 128),
        arch: text("arch", 32),
        boot_id: text("bootID", 64),
        machine_id: text("machineID", 64),
        cpus: text("cpus", 10).parse().unwrap_or(0),
        memory_mib: text("memoryKiB", 18).parse::<i64>().unwrap_or(0) / 1024,
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn facts_are_bounded_and_free_of_control_characters() {
        let facts = parse(&format!(
            "noise\nos=De\u{1b}[31mbian\nkernel={}\ncpus=two\nmemoryKiB=2048\n",
            "6".repeat(500)
        ));
        assert_eq!((facts.os.as_str(), facts.kernel.len()), ("De[31mbian", 128));
        assert_eq!(
            (facts.cpus, facts.memory_mib, facts.boot_id.as_str()),
            (0, 2, "")
        );
    }
}
