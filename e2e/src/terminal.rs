//! A person at a terminal: `kubectl` and its plugin as they were built, with a kubeconfig that says who they are.

use std::{env, fs, path::PathBuf, process};

use kube::config::Kubeconfig;
use serde_json::Value;
use tokio::{process::Command, time};

use crate::{
    cluster::kubeconfig,
    eventually,
    stage::{PATIENCE, state_folder},
};

/// What a command said, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Goes away with its kubeconfig.
#[derive(Debug)]
pub struct Terminal {
    kubeconfig: PathBuf,
}

impl Terminal {
    /// Sits this person down in a namespace.
    pub fn of(person: &str, namespace: &str) -> Self {
        let mut config = kubeconfig();
        for user in config
            .auth_infos
            .iter_mut()
            .filter_map(|u| u.auth_info.as_mut())
        {
            user.impersonate = Some(person.to_owned());
            user.impersonate_groups = Some(vec!["testers".to_owned()]);
        }
        Self::with(config, person, namespace)
    }

    /// Sits the cluster's administrator down in a namespace.
    pub fn of_the_administrator(namespace: &str) -> Self {
        Self::with(kubeconfig(), "administrator", namespace)
    }

    /// Sits somebody down whom this kubeconfig is about.
    pub(crate) fn with(mut config: Kubeconfig, person: &str, namespace: &str) -> Self {
        for context in config
            .contexts
            .iter_mut()
            .filter_map(|c| c.context.as_mut())
        {
            context.namespace = Some(namespace.to_owned());
        }
        let name = format!("{namespace}-{person}-{}.kubeconfig", process::id());
        let path = env::temp_dir().join(name);
        let text = serde_saphyr::to_string(&config).expect("a kubeconfig is plain data");
        fs::write(&path, text).expect("a kubeconfig can be written");
        Self { kubeconfig: path }
    }

    /// `kubectl pilothouse` with these words.
    pub async fn pilothouse(&self, words: &[&str]) -> Said {
        self.kubectl(&[&["pilothouse"], words].concat()).await
    }

    /// Entries of the audit of the namespace that a field selector chooses, once records answer: right after the store was killed they refuse, which is no empty list.
    pub async fn audited(&self, chosen: &str) -> Vec<Value> {
        let words = [
            "get",
            "auditentries",
            "-o",
            "json",
            "--field-selector",
            chosen,
        ];
        let told = eventually("records that answer", PATIENCE, || async {
            let told = self.kubectl(&words).await;
            (told.code == Some(0)).then_some(told.out)
        })
        .await;
        let list: Value = serde_json::from_str(&told).expect("a list");
        list["items"].as_array().expect("items").clone()
    }

    /// `kubectl` with these words.
    pub async fn kubectl(&self, words: &[&str]) -> Said {
        let bin = state_folder().join("bin");
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([bin.clone()].into_iter().chain(env::split_paths(&path)));
        let typed = Command::new(bin.join("kubectl"))
            .args(words)
            .env("PATH", path.expect("a PATH that was split"))
            .env("KUBECONFIG", &self.kubeconfig)
            .kill_on_drop(true)
            .output();
        let output = time::timeout(PATIENCE, typed)
            .await
            .unwrap_or_else(|_| panic!("kubectl {words:?} does not end"))
            .expect("kubectl starts");
        let said = Said {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        println!("kubectl {}: {said:#?}", words.join(" "));
        said
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.kubeconfig) {
            eprintln!("{} is left behind: {error}", self.kubeconfig.display());
        }
    }
}
