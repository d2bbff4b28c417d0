//! Story: files are put on hosts: from a template, a ConfigMap, a Secret a URL and a registry; whole or not at all, as they were when the run was planned, and with what was there before kept beside them.

use e2e::{
    Guest, Registry, Stage, eventually,
    guest::HOSTS,
    registry::{ADDRESS, REPOSITORY},
    stage::{PATIENCE, refusal, row, state},
};
use serde_json::{Value, json};

const RIGHTS: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: files}
rules:
- {apiGroups: [''], resources: [configmaps], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: files}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: files}
subjects: [{kind: ServiceAccount, name: pilothouse-runner, namespace: NAMESPACE}]
";

/// Bytes that are no text, in a ConfigMap whose text changes.
const APP: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: app}
data: {conf: "WORD\n"}
binaryData: {blob: "AAH/gA=="}
"#;

const JOB: &str = r#"
sharing: Shared
targets: {hosts: {names: [vm1, pm1]}}
steps:
- {name: folder, inline: {content: 'mkdir -p /var/tmp/FOLDER; test -e /var/tmp/FOLDER/link || ln -s /etc/passwd /var/tmp/FOLDER/link'}}
- {name: text, needs: [folder], file: {path: "/var/tmp/FOLDER/{{ target.name }}", content: "on {{ target.name }}: $(id) `id` \\ '\n", mode: '0640', owner: 'daemon:adm'}}
- {name: conf, needs: [folder], file: {path: /var/tmp/FOLDER/conf, configMap: {name: app, key: conf}, backups: 2}}
- {name: blob, needs: [folder], file: {path: /var/tmp/FOLDER/blob, configMap: {name: app, key: blob}}}
- {name: key, needs: [folder], file: {path: /var/tmp/FOLDER/key, secret: {name: key, key: value}, mode: '600'}}
- {name: link, needs: [folder], file: {path: /var/tmp/FOLDER/link, content: "no link\n"}}
"#;

async fn succeeds(stage: &Stage, run: &str, job: &str) -> Vec<Value> {
    stage.run(run, job).await;
    let status = stage.ends(run).await.status.expect("status");
    let rows = stage.executions(run).await;
    assert_eq!(status.summary.as_deref(), Some("Succeeded"), "{rows:#?}");
    rows
}

async fn said(stage: &Stage, run: &str, step: &str) -> String {
    String::from_utf8(stage.log(run, step, "vm1").await).expect("text")
}

#[tokio::test]
async fn files_are_there_whole_with_their_owner_and_mode_and_what_was_before() {
    let stage = Stage::set("files").await;
    stage.hosts_seen().await;
    stage.apply(RIGHTS).await;
    stage
        .secret("key", "Opaque", &[("value", "hidden-4242\n")])
        .await;
    let job = JOB.replace("FOLDER", stage.name());
    for (run, word) in [
        ("one", "first"),
        ("two", "second"),
        ("three", "third"),
        ("four", "third"),
    ] {
        stage.apply(&APP.replace("WORD", word)).await;
        succeeds(&stage, run, &job).await;
    }
    for host in HOSTS {
        let sh = |command: &str| host.sh(&format!("cd /var/tmp/{}; {command}", stage.name()));
        let name = host.0;
        assert_eq!(
            sh(&format!("cat {name}; stat -c '%U %G %a' {name}")),
            format!("on {name}: $(id) `id` \\ '\ndaemon adm 640\n")
        );
        assert_eq!(
            sh("cat conf conf.bak1 conf.bak2; ls conf*"),
            "third\nsecond\nfirst\nconf\nconf.bak1\nconf.bak2\n"
        );
        assert_eq!(
            sh("od -An -tx1 blob; cat key; stat -c '%U %a' key"),
            " 00 01 ff 80\nhidden-4242\nroot 600\n"
        );
        assert_eq!(
            sh("cat link; test -L link || echo a file; grep -c root /etc/passwd"),
            "no link\na file\n1\n"
        );
        assert_eq!(
            sh("ls -A | grep -c pilothouse; true"),
            "0\n",
            "nothing is left over"
        );
    }
    assert!(said(&stage, "three", "conf").await.contains("is written"));
    assert!(
        said(&stage, "four", "conf")
            .await
            .contains("is as it has to be")
    );
    assert!(!said(&stage, "four", "key").await.contains("4242"));
}

/// Has vm1 load files, of which `loaded` gets there and these do not; the rows.
async fn loads(stage: &Stage, steps: &str, failures: &[(&str, &str)]) -> Vec<Value> {
    let head = "targets: {hosts: {names: [vm1]}}\nstrategy: {onThreshold: Continue}\nsteps:\n";
    stage.run("loads", &(head.to_owned() + steps)).await;
    assert_eq!(refusal(&stage.ends("loads").await).0, "StepsFailed");
    let rows = stage.executions("loads").await;
    assert_eq!(state(&rows, "loaded", "vm1"), "Succeeded", "{rows:#?}");
    for (step, why) in failures {
        assert_eq!(state(&rows, step, "vm1"), "Failed");
        let log = said(stage, "loads", step).await;
        assert!(log.contains(why), "{step}: {log}");
    }
    rows
}

#[tokio::test]
async fn what_a_host_loads_itself_is_what_was_asked_for_or_is_not_put_there() {
    let stage = Stage::set("loaded").await;
    stage.hosts_seen().await;
    let folder = format!("/var/tmp/{}", stage.name());
    let sums = Guest("vm1").sh(&format!(
        "mkdir -p {folder}/www; cd {folder}/www; printf 'loaded\\n' >a; head -c 3000 /dev/zero >b; sha256sum a b
        ln -sf \"$(command -v busybox)\" /usr/local/bin/wget; systemctl stop story-files 2>/dev/null
        systemd-run --quiet --collect --unit story-files busybox httpd -f -p 127.0.0.1:18090 -h {folder}/www
        for i in $(seq 50); do wget -q -O /dev/null http://127.0.0.1:18090/a && exit 0; sleep 0.2; done; exit 1"
    ));
    let sums: Vec<_> = sums.lines().map(|line| &line[..64]).collect();
    let step = |name: &str, file: &str, sum: &str| {
        format!(
            "- {{name: {name}, file: {{path: {folder}/{name}, url: {{from: 'http://127.0.0.1:18090/{file}', sha256: {sum}, maxBytes: 2048}}}}}}\n"
        )
    };
    let steps = [
        step("loaded", "a", sums[0]),
        step("other", "a", sums[1]),
        step("long", "b", sums[1]),
        step("gone", "c", sums[0]),
    ];
    let failures = [
        ("other", sums[0]),
        ("long", "more than 2048"),
        ("gone", "was not loaded"),
    ];
    loads(&stage, &steps.concat(), &failures).await;
    let there = Guest("vm1").sh(&format!(
        "systemctl stop story-files; rm /usr/local/bin/wget; cd {folder}; cat loaded; ls -A"
    ));
    assert_eq!(there, "loaded\nloaded\nwww\n");
}

/// Puts an artifact into the registry, and gives its token away to whoever logs in as ann; the digests of the artifact and of nothing.
const ARTIFACT: &str = r#"
ln -sf /usr/local/lib/curl /usr/local/bin/curl
mkdir -p FOLDER/www/token; cd FOLDER
printf '{"token": "TOKEN", "expires_in": 3600}' >www/token/t
printf '%s\n' '/token:ann:hidden-"08\15' >httpd.conf
systemctl stop story-issuer 2>/dev/null
systemd-run --quiet --collect --unit story-issuer busybox httpd -f -p 127.0.0.1:18091 -h FOLDER/www -c FOLDER/httpd.conf
printf 'an artifact\n' >a
sum() { sha256sum <"$1" | cut -c-64; }
blobs=http://REGISTRY/v2/REPOSITORY/blobs
for i in $(seq 50); do curl -s -o /dev/null http://REGISTRY/v2/ && break; sleep 0.2; done
place=$(curl -s -i -X POST -H 'Authorization: Bearer TOKEN' $blobs/uploads/ | tr -d '\r' | sed -n 's/^Location: //p')
curl -s -f -X PUT -H 'Authorization: Bearer TOKEN' -H 'Content-Type: application/octet-stream' --data-binary @a "$place&digest=sha256:$(sum a)"
sum a; sum /dev/null
"#;

#[tokio::test]
async fn an_artifact_is_loaded_with_the_login_that_a_secret_has_for_its_registry() {
    let stage = Stage::set("artifact").await;
    stage.hosts_seen().await;
    let registry = Registry::start("http://127.0.0.1:18091/token/t");
    let folder = format!("/var/tmp/{}", stage.name());
    let script = ARTIFACT
        .replace("FOLDER", &folder)
        .replace("TOKEN", &registry.token)
        .replace("REGISTRY", ADDRESS)
        .replace("REPOSITORY", REPOSITORY);
    let sums = Guest("vm1").sh(&script);
    let sums: Vec<_> = sums.lines().collect();
    for (secret, of) in [("ours", ADDRESS), ("others", "registry.example")] {
        let config = json!({"auths": {of: {"username": "ann", "password": r#"hidden-"08\15"#}}});
        let config = [(".dockerconfigjson", &*config.to_string())];
        let kind = "kubernetes.io/dockerconfigjson";
        stage.secret(secret, kind, &config).await;
    }
    let step = |name: &str, sum: &str, secret: &str| {
        format!(
            "- {{name: {name}, file: {{path: {folder}/{name}, mode: '0755', oci: {{repository: '{ADDRESS}/{REPOSITORY}', sha256: {sum}, plainHTTP: true{secret}}}}}}}\n"
        )
    };
    let steps = [
        step("loaded", sums[0], ", pullSecret: ours"),
        step("nobody", sums[0], ""),
        step("other", sums[1], ", pullSecret: ours"),
        step("others", sums[0], ", pullSecret: others"),
    ];
    let failures = [("nobody", "lets nobody in"), ("other", "was not loaded")];
    let rows = loads(&stage, &steps.concat(), &failures).await;
    assert_eq!(row(&rows, "others", "vm1")["reason"], "NoLogin");
    let there = Guest("vm1").sh(&format!(
        "systemctl stop story-issuer; rm /usr/local/bin/curl; cd {folder}; cat loaded; stat -c %a loaded; ls -A"
    ));
    assert_eq!(there, "an artifact\n755\na\nhttpd.conf\nloaded\nwww\n");
}

#[tokio::test]
async fn what_is_not_there_too_long_or_changed_meanwhile_is_refused() {
    let stage = Stage::set("nofile").await;
    stage.hosts_seen().await;
    stage.apply(RIGHTS).await;
    let job = |key: &str, before: &str| {
        format!(
            "sharing: Shared\ntargets: {{hosts: {{names: [vm1]}}}}\nsteps:\n- {{name: first, inline: {{content: '{before}'}}}}\n- {{name: put, needs: [first], file: {{path: /var/tmp/{}, configMap: {{name: app, key: {key}}}}}}}\n",
            stage.name()
        )
    };
    stage.run("none", &job("conf", "true")).await;
    let (reason, message) = refusal(&stage.ends("none").await);
    assert_eq!(reason, "FileNotFound");
    assert!(message.contains("no ConfigMap app"), "{message}");
    stage.apply(&APP.replace("WORD", "first")).await;
    stage.run("key", &job("other", "true")).await;
    let (reason, message) = refusal(&stage.ends("key").await);
    assert_eq!(reason, "FileNotFound");
    assert!(message.contains("no key other"), "{message}");
    stage
        .apply(&APP.replace("WORD", &"x".repeat(600 << 10)))
        .await;
    stage.run("long", &job("conf", "true")).await;
    assert_eq!(refusal(&stage.ends("long").await).0, "FileTooLarge");

    stage.apply(&APP.replace("WORD", "second")).await;
    let go = format!("/var/tmp/{}-go", stage.name());
    stage
        .run(
            "changed",
            &job("conf", &format!("while test ! -e {go}; do sleep 0.2; done")),
        )
        .await;
    eventually("the first effect", PATIENCE, || async {
        (!stage.executions("changed").await.is_empty()).then_some(())
    })
    .await;
    stage.apply(&APP.replace("WORD", "third")).await;
    Guest("vm1").sh(&format!("touch {go}"));
    assert_eq!(refusal(&stage.ends("changed").await).0, "StepsFailed");
    let rows = stage.executions("changed").await;
    assert_eq!(row(&rows, "put", "vm1")["reason"], "FileChanged");
    Guest("vm1").sh(&format!("test ! -e /var/tmp/{}", stage.name()));
}

#[tokio::test]
async fn root_writes_nothing_where_somebody_else_could_lead_it() {
    let stage = Stage::set("led").await;
    stage.hosts_seen().await;
    let folder = format!("/var/tmp/{}", stage.name());
    Guest("vm1").sh(&format!(
        "mkdir -p {folder}/in; chown daemon {folder}; ln -s {folder} /var/tmp/{}-link",
        stage.name()
    ));
    let file = |name: &str, path: &str, more: &str| {
        format!("- {{name: {name}, {more}file: {{path: '{path}', content: c}}}}\n")
    };
    let steps = [
        file("foreign", &format!("{folder}/a"), ""),
        file("below", &format!("{folder}/in/a"), ""),
        file("link", &format!("{folder}-link/a"), ""),
        file("owner", &format!("{folder}/b"), "runAs: daemon, "),
    ];
    let head = "targets: {hosts: {names: [vm1]}}\nstrategy: {onThreshold: Continue}\nsteps:\n";
    stage.run("led", &(head.to_owned() + &steps.concat())).await;
    stage.ends("led").await;
    let rows = stage.executions("led").await;
    for step in ["foreign", "below", "link"] {
        assert_eq!(state(&rows, step, "vm1"), "Failed");
        let log = said(&stage, "led", step).await;
        assert!(log.contains("others than root can change"), "{step}: {log}");
    }
    assert_eq!(state(&rows, "owner", "vm1"), "Succeeded", "{rows:#?}");
    assert_eq!(
        Guest("vm1").sh(&format!("ls -A {folder}; stat -c %U {folder}/b")),
        "b\nin\ndaemon\n"
    );
}
