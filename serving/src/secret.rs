//! Where our own authority is kept: one Secret that replicas share. Whoever writes first wins, the others read again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};

use crate::authority::{AuthorityError, Material, Pair};

/// Times a lost race is run again.
const RACES: usize = 5;

/// Why the Secret does not give a certificate.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("Secret {0} could not be read")]
    Read(String, #[source] Box<kube::Error>),
    #[error("Secret {0} could not be written")]
    Write(String, #[source] Box<kube::Error>),
    #[error("material could not be renewed")]
    Renew(#[source] AuthorityError),
    #[error("Secret {0} changes faster than it can be written")]
    Raced(String),
}

/// The material of the Secret, made or renewed when that is due.
pub async fn material(
    client: &Client,
    namespace: &str,
    name: &str,
    names: &[String],
    now: Timestamp,
) -> Result<Material, SecretError> {
    let api = Api::<Secret>::namespaced(client.clone(), namespace);
    for _ in 0..RACES {
        let found = api.get_opt(name).await;
        let found = found.map_err(|e| SecretError::Read(name.to_owned(), Box::new(e)))?;
        let kept = found.as_ref().and_then(read);
        let next = Material::next(kept.as_ref(), names, now).map_err(SecretError::Renew)?;
        if kept.as_ref() == Some(&next) || write(&api, name, found, &next).await? {
            return Ok(next);
        }
    }
    Err(SecretError::Raced(name.to_owned()))
}

/// False when somebody else wrote in between.
async fn write(
    api: &Api<Secret>,
    name: &str,
    found: Option<Secret>,
    next: &Material,
) -> Result<bool, SecretError> {
    let params = PostParams::default();
    let written = if let Some(mut secret) = found {
        secret.data = Some(data(next));
        api.replace(name, &params, &secret).await
    } else {
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            type_: Some("kubernetes.io/tls".into()),
            data: Some(data(next)),
            ..Secret::default()
        };
        api.create(&params, &secret).await
    };
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(e) => Err(SecretError::Write(name.to_owned(), Box::new(e))),
    }
}

fn data(material: &Material) -> BTreeMap<String, ByteString> {
    let mut data = BTreeMap::from([
        ("tls.crt".to_owned(), material.leaf.certificate.clone()),
        ("tls.key".to_owned(), material.leaf.key.clone()),
        ("ca.crt".to_owned(), material.bundle()),
    ]);
    for (index, authority) in material.authorities.iter().enumerate() {
        data.insert(
            format!("authority-{index}.crt"),
            authority.certificate.clone(),
        );
        data.insert(format!("authority-{index}.key"), authority.key.clone());
    }
    data.into_iter()
        .map(|(k, v)| (k, ByteString(v.into_bytes())))
        .collect()
}

fn read(secret: &Secret) -> Option<Material> {
    let data = secret.data.as_ref()?;
    let text = |key: &str| String::from_utf8(data.get(key)?.0.clone()).ok();
    let pair = |name: &str| {
        Some(Pair {
            certificate: text(&format!("{name}.crt"))?,
            key: text(&format!("{name}.key"))?,
        })
    };
    Some(Material {
        authorities: (0..)
            .map_while(|index| pair(&format!("authority-{index}")))
            .collect(),
        leaf: pair("tls")?,
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::api::core::v1::Secret;

    use super::{Material, data, read};

    #[test]
    fn what_is_written_is_read_back() {
        let material = Material::next(None, &["a.svc".into()], Timestamp::now()).expect("material");
        let secret = Secret {
            data: Some(data(&material)),
            ..Secret::default()
        };
        assert!(read(&secret) == Some(material));
        assert!(read(&Secret::default()).is_none());
    }
}
