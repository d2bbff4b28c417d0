//! Parameter values as they are typed: `NAME=VALUE`, `NAME=SECRET/KEY` for what is kept in a Secret, and `NAME=PARAMETER@VERSION` for what is kept in a Parameter.

use clap::Args;
use crds::v1alpha1::{ParameterRef, SecretKeyRef};
use decide::parameters;

/// Values of parameters, as run and plan take them.
#[derive(Clone, Debug, Default, Args)]
pub struct Given {
    /// Value of a parameter
    #[arg(short, long = "param", value_name = "NAME=VALUE", value_parser = plain)]
    pub params: Vec<(String, String)>,
    /// Where the value of a parameter is kept; sensitive parameters are only taken from Secrets
    #[arg(long = "secret", value_name = "NAME=SECRET/KEY", value_parser = secret)]
    pub secrets: Vec<(String, SecretKeyRef)>,
    /// Parameter that the value is read from, in its latest version or in one that is named
    #[arg(long = "from", value_name = "NAME=PARAMETER[@VERSION]", value_parser = reference)]
    pub refs: Vec<(String, ParameterRef)>,
}

/// Reads `NAME=VALUE`; the value may hold anything, further equal signs too.
pub fn plain(typed: &str) -> Result<(String, String), String> {
    match typed.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// Reads `NAME=SECRET/KEY`.
pub fn secret(typed: &str) -> Result<(String, SecretKeyRef), String> {
    let wrong = || "write NAME=SECRET/KEY, the name of a Secret and a key in it".to_owned();
    let (name, place) = typed
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(wrong)?;
    let (secret, key) = place
        .split_once('/')
        .filter(|(s, k)| !s.is_empty() && !k.is_empty())
        .ok_or_else(wrong)?;
    Ok((
        name.to_owned(),
        SecretKeyRef {
            name: secret.to_owned(),
            key: key.to_owned(),
            uid: None,
        },
    ))
}

/// Reads `NAME=PARAMETER` and `NAME=PARAMETER@VERSION`.
pub fn reference(typed: &str) -> Result<(String, ParameterRef), String> {
    let wrong = || "write NAME=PARAMETER or NAME=PARAMETER@VERSION".to_owned();
    let (name, of) = typed.split_once('=').ok_or_else(wrong)?;
    let (parameter, version) = match of.split_once('@') {
        None => (of, None),
        Some((parameter, version)) => {
            let number = version.parse::<i64>().ok().filter(|number| *number > 0);
            (parameter, Some(number.ok_or_else(wrong)?))
        }
    };
    if name.is_empty() || parameter.is_empty() {
        return Err(wrong());
    }
    let reference = ParameterRef {
        name: parameter.to_owned(),
        version,
    };
    Ok((name.to_owned(), reference))
}

impl Given {
    /// Values by name; of a name given twice the last counts, as with kubectl.
    pub fn values(&self) -> parameters::Given {
        parameters::Given {
            plain: self.params.iter().cloned().collect(),
            secret: self.secrets.iter().cloned().collect(),
            refs: self.refs.iter().cloned().collect(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.params.is_empty() && self.secrets.is_empty() && self.refs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{plain, reference, secret};

    #[test]
    fn a_parameter_is_named_with_a_version_or_without() {
        let read = |typed| reference(typed).map(|(name, of)| (name, of.name, of.version));
        let of = |version| Ok(("unit".into(), "shop-unit".into(), version));
        assert_eq!(read("unit=shop-unit"), of(None));
        assert_eq!(read("unit=shop-unit@3"), of(Some(3)));
        for wrong in ["unit", "=p", "unit=", "unit=p@", "unit=p@0", "unit=p@x"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_value_may_hold_equal_signs_and_be_empty() {
        assert_eq!(plain("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(plain("a="), Ok(("a".into(), String::new())));
        assert!(plain("a").is_err() && plain("=b").is_err());
    }

    #[test]
    fn a_secret_is_named_with_its_key() {
        let (name, place) = secret("password=shop-db/password").expect("valid");
        assert_eq!(
            (name.as_str(), place.name.as_str(), place.key.as_str()),
            ("password", "shop-db", "password")
        );
        for wrong in [
            "password",
            "password=shop-db",
            "password=/key",
            "password=shop-db/",
            "=a/b",
        ] {
            assert!(secret(wrong).is_err(), "{wrong}");
        }
    }
}
