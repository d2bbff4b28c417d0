//! Story: somebody without rights on a host lies in wait for the toolkit. A run does the right thing or refuses and says why, and nothing of theirs is run as root.

use e2e::{
    Guest, Manifest, Stage, eventually,
    stage::{PATIENCE, state},
};
use serde_json::{Value, json};

const VM1: Guest = Guest("vm1");

/// Makes an account of root's that finds a folder of the story's own at `/var/lib`, so that other stories on the machine notice nothing.
const TRAP: &str = r#"
set -e
mkdir -m 0755 /var/tmp/trap /var/tmp/trap/lib
cat > /var/tmp/trap/shell <<'END'
#!/bin/sh
exec unshare --mount sh -c 'mount --bind /var/tmp/trap/lib /var/lib && exec /bin/sh "$@"' sh "$@"
END
chmod 0755 /var/tmp/trap/shell
echo 'trapped:*:0:0::/root:/var/tmp/trap/shell' >> /etc/passwd
"#;

/// What the cases below are made of: `anew` is a host after a good run, `limited` is somebody without rights there. Whatever of theirs runs as root leaves
/// `owned`, where they cannot write themselves.
const WORDS: &str = r##"
set -e
cd /var/tmp/trap
own=$(cd good && echo pilothouse/bin/*)
home=/home/limited
limited() { runuser -u limited -- sh -ec "own=$own; home=$home; cd /var/tmp/trap/lib; $1"; }
anew() {
  rm -rf lib $home/pilothouse
  cp -a good lib
  limited 'mkdir -p $home/pilothouse/bin; printf "#!/bin/sh\nid -u >> /var/tmp/trap/owned\n" > $home/$own; chmod 0700 $home/$own'
}
anew
"##;

/// What happened on the host, how a run ends there, and what it says.
const CASES: [(&str, &str, &str, &str); 8] = [
    (
        "folder-is-a-link-to-theirs",
        "rm -r lib/pilothouse; chmod 0777 lib; limited 'ln -s $home/pilothouse .'; chmod 0755 lib",
        "PathNotSafe",
        "a link leads to it",
    ),
    (
        "folder-is-a-link-to-nothing-yet",
        "rm -r lib/pilothouse; chmod 0777 lib; limited 'rm -r $home/pilothouse/bin; ln -s $home/pilothouse .'; chmod 0755 lib",
        "PathNotSafe",
        "it cannot be entered",
    ),
    (
        "folder-is-theirs",
        "chmod 0777 lib; limited 'mv pilothouse away; cp -a $home/pilothouse .'; chmod 0755 lib",
        "PathNotSafe",
        "owner and mode are",
    ),
    (
        "parent-is-open-to-all",
        "chmod 0777 lib",
        "UnsafeRoot",
        "can be written by others",
    ),
    (
        "journals-could-be-forged",
        "chown limited lib/pilothouse; limited 'mv pilothouse/journal pilothouse/away; mkdir -m 0700 pilothouse/journal'",
        "UnsafeRoot",
        "does not belong to the toolkit's user",
    ),
    (
        "journals-are-forged",
        "chown limited lib/pilothouse; limited 'mv pilothouse/journal pilothouse/away; mkdir -m 0700 pilothouse/journal'; chown root lib/pilothouse",
        "UnsafeRoot",
        "journal is not owned by the toolkit's user alone",
    ),
    (
        "toolkit-is-swapped",
        "chown limited lib/pilothouse lib/pilothouse/bin; limited 'rm $own; cp $home/$own $own'; chown root lib/pilothouse lib/pilothouse/bin",
        "Succeeded",
        "",
    ),
    (
        "toolkit-is-a-link",
        "chown limited lib/pilothouse lib/pilothouse/bin; limited 'rm $own; ln -s $home/$own $own'; chown root lib/pilothouse lib/pilothouse/bin",
        "Succeeded",
        "",
    ),
];

/// Taken away with what is in it when this is dropped.
struct Trap;

impl Trap {
    fn set() -> Self {
        let trap = Self;
        VM1.sh(TRAP);
        trap
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        VM1.sh("sed -i /^trapped:/d /etc/passwd; rm -rf /var/tmp/trap /home/limited/pilothouse");
    }
}

/// Runs something by the trapped account; the row of it.
async fn row(stage: &Stage, run: &str) -> Value {
    let job = "targets: {hosts: {names: [trapped]}}\nsteps: [{name: a, inline: {content: id -u}}]";
    stage.run(run, job).await;
    stage.ends(run).await;
    let owned = VM1.sh("cat /var/tmp/trap/owned 2>/dev/null; true");
    assert_eq!(owned, "", "{run}: what is theirs ran as root");
    VM1.sh("! find /home/limited -user root | grep .");
    stage.executions(run).await.pop().expect("a row")
}

#[tokio::test]
async fn what_lies_in_wait_for_the_toolkit_is_not_run() {
    let stage = Stage::set("hijack").await;
    let _trap = Trap::set();
    let spec = json!({"type": "VirtualMachine", "address": "172.31.250.21", "user": "trapped",
        "credentialsRef": {"name": "fleet-key"}, "hostKeyPolicy": "TrustOnFirstUse"});
    let host = Manifest::of("Host", "trapped", &spec).within(stage.name());
    host.create(&stage.client).await.expect("a Host");
    stage.reachable("trapped").await;
    let good = row(&stage, "good").await;
    assert_eq!(good["state"], "Succeeded", "{good:#}");
    VM1.sh("cp -a /var/tmp/trap/lib /var/tmp/trap/good");

    for (name, happened, outcome, words) in CASES {
        VM1.sh(&format!("{WORDS}{happened}"));
        let row = row(&stage, name).await;
        let said = row.to_string();
        assert!(said.contains(outcome) && said.contains(words), "{row:#}");
        let (done, wanted) = (row["state"] == "Succeeded", outcome == "Succeeded");
        assert_eq!(done, wanted, "{row:#}");
    }
}

#[tokio::test]
async fn whoever_is_on_the_host_does_not_touch_a_run() {
    let stage = Stage::set("bystander").await;
    stage.reachable("vm1").await;
    let file = format!("/var/tmp/{}", stage.name());
    let job = format!("targets: {{hosts: {{names: [vm1]}}}}
steps: [{{name: a, inline: {{content: 'echo $$ > {file}; until [ -e {file}.go ]; do sleep 0.2; done; echo done'}}}}]");
    stage.run("watched", &job).await;
    let script = format!("cat {file} 2>/dev/null; true");
    let process = eventually("the script", PATIENCE, || async {
        VM1.sh(&script).trim().parse::<u32>().ok()
    })
    .await;
    let supervisor = VM1.sh(&format!("ps -o ppid= -p {process}"));
    let supervisor = supervisor.trim();
    let root = "/var/lib/pilothouse";
    for attempt in [
        format!("ls {root}"),
        format!("cat {root}/journal/*/request.json"),
        format!("mv {root} {root}.away"),
        format!("ln -s /home/limited {root}/journal/forged"),
        format!("cp /bin/true {root}/bin/toolkit"),
        format!("kill -KILL {supervisor}"),
        format!("kill -STOP {process}"),
        format!("cat /proc/{process}/environ"),
        format!("cat /proc/{process}/fd/3"),
        format!("cat /proc/{supervisor}/mem"),
        format!("echo forged > /proc/{process}/fd/1"),
    ] {
        let tried = VM1.output(&format!("runuser -u limited -- sh -c '{attempt}'"));
        let said = String::from_utf8_lossy(&tried.stderr);
        let refused = said.contains("Permission denied") || said.contains("not permitted");
        assert!(!tried.status.success() && refused, "{attempt}: {said}");
    }
    VM1.sh(&format!("touch {file}.go"));
    stage.ends("watched").await;
    let rows = stage.executions("watched").await;
    assert_eq!(state(&rows, "a", "vm1"), "Succeeded");
    assert_eq!(stage.log("watched", "a", "vm1").await, b"done\n");
}
