//! Logging in: certificate, key, password and the same password asked for interactively, in this order, each only where the server still takes it.

use std::sync::Arc;

use russh::{
    AgentAuthError, MethodKind, MethodSet, Signer,
    client::{AuthResult, Handle, KeyboardInteractiveAuthResponse},
    keys::{
        self, HashAlg, PrivateKey, PrivateKeyWithHashAlg,
        agent::AgentIdentity,
        signature::Signer as _,
        ssh_encoding::Encode,
        ssh_key::{self, Signature, private::KeypairData},
    },
};

use super::{Credentials, guard::Guard};

/// How a login ended.
pub(super) enum Login {
    Accepted,
    Rejected {
        offered: MethodSet,
        password_withheld: bool,
    },
}

/// Methods in the order in which they are tried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Certificate,
    Key,
    Password,
    Prompt,
}

impl Method {
    const ALL: [Self; 4] = [Self::Certificate, Self::Key, Self::Password, Self::Prompt];

    fn kind(self) -> MethodKind {
        match self {
            Self::Certificate | Self::Key => MethodKind::PublicKey,
            Self::Password => MethodKind::Password,
            Self::Prompt => MethodKind::KeyboardInteractive,
        }
    }

    fn is_possible(self, credentials: &Credentials) -> bool {
        match self {
            Self::Certificate => credentials.certificate().is_some(),
            Self::Key => credentials.key().is_some(),
            Self::Password | Self::Prompt => credentials.password().is_some(),
        }
    }

    fn sends_password(self) -> bool {
        matches!(self, Self::Password | Self::Prompt)
    }
}

/// Tries what the credentials hold; on first use of a host no password leaves this process.
pub(super) async fn login(
    handle: &mut Handle<Guard>,
    user: &str,
    credentials: &Credentials,
    first_use: bool,
) -> Result<Login, russh::Error> {
    let mut offered: Option<MethodSet> = None;
    let mut password_withheld = false;
    for method in Method::ALL {
        let taken = offered
            .as_ref()
            .is_none_or(|set| set.contains(&method.kind()));
        if !taken || !method.is_possible(credentials) {
            continue;
        }
        if first_use && method.sends_password() {
            password_withheld = true;
            continue;
        }
        match attempt(handle, user, credentials, method).await? {
            AuthResult::Success => return Ok(Login::Accepted),
            // The library reports a connection that went away as a rejection that leaves no method.
            AuthResult::Failure { .. } if handle.is_closed() && offered.is_none() => {
                return Err(russh::Error::Disconnect);
            }
            AuthResult::Failure {
                remaining_methods, ..
            } => offered = Some(remaining_methods),
        }
    }
    let offered = offered.unwrap_or_else(MethodSet::empty);
    Ok(Login::Rejected {
        offered,
        password_withheld,
    })
}

async fn attempt(
    handle: &mut Handle<Guard>,
    user: &str,
    credentials: &Credentials,
    method: Method,
) -> Result<AuthResult, russh::Error> {
    // Servers that verify RSA with SHA-2 take SHA-512; asking first would cost a round trip.
    let hash = Some(HashAlg::Sha512);
    match (
        method,
        credentials.key(),
        credentials.certificate(),
        credentials.password(),
    ) {
        (Method::Certificate, Some(key), Some(certificate), _) => {
            let mut signer = KeySigner(key.clone());
            let hash = key.algorithm().is_rsa().then_some(HashAlg::Sha512);
            let attempt = handle
                .authenticate_certificate_with(user, certificate.clone(), hash, &mut signer)
                .await;
            attempt.map_err(|error| match error {
                AgentAuthError::Send(_) => russh::Error::SendError,
                AgentAuthError::Key(error) => error.into(),
            })
        }
        (Method::Key, Some(key), ..) => {
            handle
                .authenticate_publickey(user, PrivateKeyWithHashAlg::new(key.clone(), hash))
                .await
        }
        (Method::Password, .., Some(password)) => {
            handle.authenticate_password(user, password).await
        }
        (Method::Prompt, .., Some(password)) => prompt(handle, user, password).await,
        _ => Ok(AuthResult::Failure {
            remaining_methods: MethodSet::empty(),
            partial_success: false,
        }),
    }
}

/// Answers one hidden prompt with the password; anything else a server asks is not ours to answer.
async fn prompt(
    handle: &mut Handle<Guard>,
    user: &str,
    password: &str,
) -> Result<AuthResult, russh::Error> {
    let mut reply = handle
        .authenticate_keyboard_interactive_start(user, None::<String>)
        .await?;
    let mut answered = false;
    loop {
        let prompts = match reply {
            KeyboardInteractiveAuthResponse::Success => return Ok(AuthResult::Success),
            KeyboardInteractiveAuthResponse::Failure {
                remaining_methods,
                partial_success,
            } => {
                return Ok(AuthResult::Failure {
                    remaining_methods,
                    partial_success,
                });
            }
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => prompts,
        };
        let hidden = prompts.len() == 1 && !prompts[0].echo;
        if !prompts.is_empty() && (answered || !hidden) {
            return Ok(AuthResult::Failure {
                remaining_methods: MethodSet::empty(),
                partial_success: false,
            });
        }
        answered |= hidden;
        let answers = prompts.iter().map(|_| password.to_owned()).collect();
        reply = handle
            .authenticate_keyboard_interactive_respond(answers)
            .await?;
    }
}

/// Signs with a key of our own, RSA with SHA-2, which the library's certificate login does not do.
struct KeySigner(Arc<PrivateKey>);

impl Signer for KeySigner {
    type Error = AgentAuthError;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        _: Option<HashAlg>,
        mut to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, Self::Error> {
        let signed: Result<Signature, _> = match self.0.key_data() {
            KeypairData::Rsa(key) => (key, Some(HashAlg::Sha512)).try_sign(&to_sign),
            key => key.try_sign(&to_sign),
        };
        let signature = signed.map_err(|error| keys::Error::from(ssh_key::Error::from(error)))?;
        signature
            .encode_prefixed(&mut to_sign)
            .map_err(|error| keys::Error::from(ssh_key::Error::from(error)))?;
        Ok(to_sign)
    }
}
