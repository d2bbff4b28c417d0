//! A certificate authority of our own and the certificate it signs, as a pure step from what is kept to what should be kept. A new authority is
//! published beside the old one before anything is signed with it, so that nobody meets a certificate that they cannot trust yet.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use x509_parser::{extensions::GeneralName, pem::parse_x509_pem, prelude::X509Certificate};

/// Lifetimes; each is renewed when a third is left.
const AUTHORITY_LIFE: Duration = Duration::from_hours(24 * 365);
const LEAF_LIFE: Duration = Duration::from_hours(24 * 60);
/// Time for which an authority is published before it signs.
const SETTLE: Duration = Duration::from_hours(24);
/// Clocks of clients may be behind by this much.
const SKEW: Duration = Duration::from_mins(5);

/// What is kept: authorities, oldest first, and the serving certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct Material {
    pub authorities: Vec<Pair>,
    pub leaf: Pair,
}

/// A certificate and its key, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

/// Why material could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("certificate could not be made")]
    Make(#[source] rcgen::Error),
    #[error("kept certificate is not readable: {0}")]
    Read(String),
}

impl Material {
    /// What should be kept from now on; the same as before when nothing is due. What cannot be read counts as absent.
    pub fn next(
        kept: Option<&Self>,
        names: &[String],
        now: Timestamp,
    ) -> Result<Self, AuthorityError> {
        let mut authorities = kept.map(|k| k.authorities.clone()).unwrap_or_default();
        authorities.retain(|pair| Facts::of(pair).is_ok_and(|facts| facts.ends > now));
        let newest = authorities.last().map(Facts::of).transpose()?;
        if newest.is_none_or(|facts| due(facts.ends, now, AUTHORITY_LIFE)) {
            authorities.push(new_authority(now)?);
        }
        let signer = signer(&authorities, now)?;
        let leaf = kept
            .map(|k| &k.leaf)
            .filter(|leaf| stands(leaf, signer, names, now));
        let leaf = leaf
            .cloned()
            .map_or_else(|| new_leaf(signer, names, now), Ok)?;
        Ok(Self { authorities, leaf })
    }

    /// Every authority that clients should trust.
    pub fn bundle(&self) -> String {
        self.authorities
            .iter()
            .map(|a| a.certificate.as_str())
            .collect()
    }
}

/// The newest authority that clients have had time to learn of; the oldest when none has.
fn signer(authorities: &[Pair], now: Timestamp) -> Result<&Pair, AuthorityError> {
    let mut signer = &authorities[0];
    for authority in &authorities[1..] {
        if Facts::of(authority)?.begins + SETTLE <= now {
            signer = authority;
        }
    }
    Ok(signer)
}

fn stands(leaf: &Pair, signer: &Pair, names: &[String], now: Timestamp) -> bool {
    let (Ok(leaf), Ok(signer)) = (Facts::of(leaf), Facts::of(signer)) else {
        return false;
    };
    let wanted: BTreeSet<_> = names.iter().cloned().collect();
    leaf.issuer == signer.subject && leaf.names == wanted && !due(leaf.ends, now, LEAF_LIFE)
}

fn due(ends: Timestamp, now: Timestamp, life: Duration) -> bool {
    now.duration_until(ends) < SignedDuration::try_from(life / 3).unwrap_or(SignedDuration::MAX)
}

fn new_authority(now: Timestamp) -> Result<Pair, AuthorityError> {
    let mut params = CertificateParams::default();
    // The name is unique, so that a certificate says which of two authorities signed it.
    params
        .distinguished_name
        .push(DnType::CommonName, format!("pilothouse {now}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    span(&mut params, now, AUTHORITY_LIFE);
    let key = KeyPair::generate().map_err(AuthorityError::Make)?;
    let certificate = params.self_signed(&key).map_err(AuthorityError::Make)?;
    Ok(Pair {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

fn new_leaf(signer: &Pair, names: &[String], now: Timestamp) -> Result<Pair, AuthorityError> {
    let make = |signer: &Pair| {
        let issuer =
            Issuer::from_ca_cert_pem(&signer.certificate, KeyPair::from_pem(&signer.key)?)?;
        let mut params = CertificateParams::new(names)?;
        params
            .distinguished_name
            .push(DnType::CommonName, "pilothouse");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        span(&mut params, now, LEAF_LIFE);
        let key = KeyPair::generate()?;
        Ok(Pair {
            certificate: params.signed_by(&key, &issuer)?.pem(),
            key: key.serialize_pem(),
        })
    };
    make(signer).map_err(AuthorityError::Make)
}

fn span(params: &mut CertificateParams, now: Timestamp, life: Duration) {
    let now = SystemTime::from(now);
    params.not_before = (now - SKEW).into();
    params.not_after = (now + life).into();
}

/// What a certificate says of itself.
struct Facts {
    subject: String,
    issuer: String,
    begins: Timestamp,
    ends: Timestamp,
    names: BTreeSet<String>,
}

impl Facts {
    fn of(pair: &Pair) -> Result<Self, AuthorityError> {
        let unreadable = |e: &dyn std::fmt::Display| AuthorityError::Read(e.to_string());
        let (_, pem) = parse_x509_pem(pair.certificate.as_bytes()).map_err(|e| unreadable(&e))?;
        let certificate = pem.parse_x509().map_err(|e| unreadable(&e))?;
        let at = |seconds| Timestamp::from_second(seconds).map_err(|e| unreadable(&e));
        let validity = certificate.validity();
        Ok(Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            begins: at(validity.not_before.timestamp())?,
            ends: at(validity.not_after.timestamp())?,
            names: names(&certificate),
        })
    }
}

fn names(certificate: &X509Certificate<'_>) -> BTreeSet<String> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let all = extension
        .map(|e| e.value.general_names.as_slice())
        .unwrap_or_default();
    let dns = all.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    dns.collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::{AUTHORITY_LIFE, Facts, LEAF_LIFE, Material, SETTLE};

    const DAY: Duration = Duration::from_hours(24);

    fn names() -> Vec<String> {
        vec!["server.system.svc".into()]
    }

    fn next(kept: Option<&Material>, now: Timestamp) -> Material {
        Material::next(kept, &names(), now).expect("material is made")
    }

    fn trusted(material: &Material, bundle: &str) -> bool {
        let leaf = Facts::of(&material.leaf).expect("a leaf");
        material.authorities.iter().any(|a| {
            bundle.contains(&a.certificate)
                && Facts::of(a).expect("an authority").subject == leaf.issuer
        })
    }

    #[test]
    fn nothing_changes_while_nothing_is_due() {
        let now = Timestamp::now();
        let first = next(None, now);
        assert!(next(Some(&first), now + DAY) == first);
        assert_eq!(first.authorities.len(), 1);
    }

    #[test]
    fn over_years_every_leaf_is_trusted_by_the_bundle_of_the_day_before() {
        let mut now = Timestamp::now();
        let mut kept = next(None, now);
        let mut leaves = 1;
        for _ in 0..1_000 {
            now += DAY;
            let turned = next(Some(&kept), now);
            assert!(
                trusted(&turned, &kept.bundle()),
                "on {now} clients were not told in time"
            );
            let leaf = Facts::of(&turned.leaf).expect("a leaf");
            assert!(
                leaf.begins <= now && now + LEAF_LIFE / 4 < leaf.ends,
                "on {now} the leaf is near its end"
            );
            assert!(turned.authorities.len() <= 2);
            leaves += i32::from(turned.leaf != kept.leaf);
            kept = turned;
        }
        assert!((20..40).contains(&leaves), "{leaves} leaves");
    }

    #[test]
    fn a_new_authority_signs_only_after_it_settled() {
        let now = Timestamp::now();
        let old = next(None, now);
        let due = now + AUTHORITY_LIFE / 10 * 7;
        let both = next(Some(&old), due);
        assert_eq!(both.authorities.len(), 2);
        assert_eq!(
            Facts::of(&both.leaf).expect("a leaf").issuer,
            Facts::of(&both.authorities[0]).expect("one").subject
        );
        let settled = next(Some(&both), due + SETTLE);
        assert_eq!(
            Facts::of(&settled.leaf).expect("a leaf").issuer,
            Facts::of(&both.authorities[1]).expect("one").subject
        );
    }

    #[test]
    fn other_names_and_unreadable_material_make_new_certificates() {
        let now = Timestamp::now();
        let first = next(None, now);
        let renamed =
            Material::next(Some(&first), &["other.svc".into()], now).expect("material is made");
        assert!(renamed.leaf != first.leaf && renamed.authorities == first.authorities);
        let mut broken = first.clone();
        broken.authorities[0].certificate = "nonsense".into();
        assert!(next(Some(&broken), now).authorities[0] != broken.authorities[0]);
        let mut keyless = first.clone();
        keyless.leaf.certificate = String::new();
        assert!(next(Some(&keyless), now).leaf != first.leaf);
    }
}
