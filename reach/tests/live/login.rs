//! Who is let in, who is refused, and by which name.

use reach::ssh::{Error, Exit, HostKeys, Target};
use russh::keys::ssh_key::certificate::CertType;

use crate::{
    sshd::{Rules, Sshd, key},
    stage::{certificate, echo, fleet, pem, secret, soon, target, with_key, with_password},
};

#[tokio::test]
async fn a_key_opens_a_session_and_the_command_gets_its_input_and_tells_its_end() {
    let user = key();
    let server = Sshd::start(Rules {
        user_key: Some(user.public_key().clone()),
        ..Rules::default()
    })
    .await;
    let (fleet, target) = (fleet(), target(&server, with_key(&user)));
    let session = fleet.session(&target, soon()).await.unwrap();
    assert!(!session.host_key().first_use);
    let input = vec![b'x'; 3 << 20];
    let finished = session
        .exec("wc -c; echo oops >&2; exit 7", input)
        .await
        .unwrap()
        .finish(100)
        .await
        .unwrap();
    assert_eq!(finished.exit, Exit::Code(7));
    assert_eq!(
        (finished.stdout.as_slice(), finished.stderr.as_slice()),
        (&b"3145728\n"[..], &b"oops\n"[..])
    );
}

#[tokio::test]
async fn an_encrypted_key_opens_with_its_passphrase_and_says_so_without() {
    let user = key();
    let server = Sshd::start(Rules {
        user_key: Some(user.public_key().clone()),
        ..Rules::default()
    })
    .await;
    let pem = pem(&user.encrypt(&mut rand::rng(), "open sesame").unwrap());
    let fields = [
        ("ssh-privatekey", pem.as_str()),
        ("addresses", "127.0.0.1"),
        ("passphrase", "open sesame\n"),
    ];
    assert_eq!(
        echo(&fleet(), &target(&server, secret(&fields).unwrap()))
            .await
            .unwrap(),
        "hello\n"
    );
    let message = secret(&fields[..2]).unwrap_err().to_string();
    assert!(message.contains("encrypted"), "{message}");
    let wrong = [fields[0], fields[1], ("passphrase", "wrong")];
    assert_eq!(secret(&wrong).unwrap_err().reason(), "BadCredential");
}

/// RSA and ECDSA keys made by ssh-keygen, since making RSA keys here would take seconds.
#[tokio::test]
async fn rsa_and_ecdsa_keys_in_their_usual_forms_open_sessions() {
    for pem in [
        include_str!("keys/rsa.pem"),
        include_str!("keys/rsa-openssh.pem"),
        include_str!("keys/ecdsa.pem"),
    ] {
        let user = russh::keys::decode_secret_key(pem, None).unwrap();
        let server = Sshd::start(Rules {
            user_key: Some(user.public_key().clone()),
            ..Rules::default()
        })
        .await;
        let credentials = secret(&[("ssh-privatekey", pem), ("addresses", "127.0.0.1")]).unwrap();
        assert_eq!(
            echo(&fleet(), &target(&server, credentials)).await.unwrap(),
            "hello\n"
        );
    }
}

#[tokio::test]
async fn a_user_certificate_opens_a_session_and_must_belong_to_its_key() {
    let authority = key();
    let rsa = russh::keys::decode_secret_key(include_str!("keys/rsa.pem"), None).unwrap();
    for user in [key(), rsa] {
        let server = Sshd::start(Rules {
            user_authority: Some(authority.public_key().clone()),
            ..Rules::default()
        })
        .await;
        let line = certificate(&user, &authority, CertType::User, "root")
            .to_openssh()
            .unwrap();
        let own = pem(&user);
        let fields = [
            ("ssh-privatekey", own.as_str()),
            ("ssh-certificate", line.as_str()),
            ("addresses", "127.0.0.1"),
        ];
        assert_eq!(
            echo(&fleet(), &target(&server, secret(&fields).unwrap()))
                .await
                .unwrap(),
            "hello\n"
        );
        let stranger = pem(&key());
        let error = secret(&[("ssh-privatekey", &stranger), fields[1], fields[2]]).unwrap_err();
        assert!(error.to_string().contains("does not belong"), "{error}");
    }
}

#[tokio::test]
async fn a_password_opens_a_session_and_a_wrong_one_is_rejected_by_name() {
    let server = Sshd::start(Rules {
        password: Some("right"),
        ..Rules::default()
    })
    .await;
    assert_eq!(
        echo(&fleet(), &target(&server, with_password("right\n")))
            .await
            .unwrap(),
        "hello\n"
    );
    let error = echo(&fleet(), &target(&server, with_password("wrong")))
        .await
        .unwrap_err();
    assert_eq!(error.reason(), "AuthRejected");
}

#[tokio::test]
async fn another_host_key_is_refused_before_any_credential_is_sent() {
    let server = Sshd::start(Rules {
        password: Some("right"),
        ..Rules::default()
    })
    .await;
    let mut target = target(&server, with_password("right"));
    target.host_keys =
        HostKeys::pinned([key().public_key().to_openssh().unwrap().as_str()]).unwrap();
    let Err(Error::HostKeyMismatch { expected, seen, .. }) = echo(&fleet(), &target).await else {
        panic!("accepted")
    };
    assert!(expected.len() == 1 && expected[0] != seen);
    assert_eq!(
        server
            .seen
            .passwords
            .load(std::sync::atomic::Ordering::SeqCst),
        0
    );
}

#[tokio::test]
async fn first_use_returns_the_key_for_pinning_and_never_sends_a_password() {
    let user = key();
    let rules = Rules {
        user_key: Some(user.public_key().clone()),
        password: Some("right"),
        ..Rules::default()
    };
    let server = Sshd::start(rules).await;
    let mut target = target(&server, with_key(&user));
    target.host_keys = HostKeys::trust_on_first_use();
    let session = fleet().session(&target, soon()).await.unwrap();
    assert!(session.host_key().first_use);
    assert_eq!(
        HostKeys::pinned([session.host_key().openssh.as_str()])
            .map(|_| ())
            .unwrap(),
        ()
    );

    target.credentials = with_password("right");
    let Err(Error::AuthRejected {
        password_withheld, ..
    }) = echo(&fleet(), &target).await
    else {
        panic!("accepted")
    };
    assert!(password_withheld);
    assert_eq!(
        server
            .seen
            .passwords
            .load(std::sync::atomic::Ordering::SeqCst),
        0
    );
}

#[tokio::test]
async fn a_key_that_nobody_pinned_is_unknown() {
    let server = Sshd::start(Rules {
        password: Some("right"),
        ..Rules::default()
    })
    .await;
    let mut target = target(&server, with_password("right"));
    target.host_keys = HostKeys::default();
    assert_eq!(
        echo(&fleet(), &target).await.unwrap_err().reason(),
        "HostKeyUnknown"
    );
}

#[tokio::test]
async fn the_secrets_own_host_keys_hold_beside_the_hosts() {
    let server = Sshd::start(Rules {
        password: Some("right"),
        ..Rules::default()
    })
    .await;
    let other = key().public_key().to_openssh().unwrap();
    let fields = [("password", "right"), ("addresses", "127.0.0.1")];
    let strict = secret(&[fields[0], fields[1], ("hostKeys", &other)]).unwrap();
    assert_eq!(
        echo(&fleet(), &target(&server, strict))
            .await
            .unwrap_err()
            .reason(),
        "HostKeyMismatch"
    );
    let mut vouched = target(
        &server,
        secret(&[fields[0], fields[1], ("hostKeys", &server.host_key)]).unwrap(),
    );
    vouched.host_keys = HostKeys::trust_on_first_use();
    assert_eq!(
        echo(&fleet(), &vouched).await.unwrap(),
        "hello\n",
        "vouched for by the Secret, so not a first use"
    );
}

#[tokio::test]
async fn a_host_certificate_is_known_by_its_authority_and_for_its_name_only() {
    let (host_key, authority) = (key(), key());
    for (principal, expected) in [
        ("127.0.0.1", Ok("hello\n".to_owned())),
        ("elsewhere", Err("HostKeyMismatch")),
    ] {
        let host_certificate = Some(certificate(
            &host_key,
            &authority,
            CertType::Host,
            principal,
        ));
        let rules = Rules {
            host_key: host_key.clone(),
            host_certificate,
            password: Some("right"),
            ..Rules::default()
        };
        let server = Sshd::start(rules).await;
        let ca = authority.public_key().to_openssh().unwrap();
        let fields = [
            ("password", "right"),
            ("addresses", "127.0.0.1"),
            ("hostCA", ca.as_str()),
        ];
        let mut target = target(&server, secret(&fields).unwrap());
        target.host_keys = HostKeys::trust_on_first_use();
        assert_eq!(
            echo(&fleet(), &target)
                .await
                .map_err(|error| error.reason()),
            expected
        );
    }
}

#[tokio::test]
async fn credentials_go_only_where_their_secret_says() {
    let server = Sshd::start(Rules {
        password: Some("right"),
        ..Rules::default()
    })
    .await;
    let elsewhere = secret(&[
        ("password", "right"),
        ("addresses", "10.0.0.0/8\n*.example.org"),
    ])
    .unwrap();
    let error = echo(&fleet(), &target(&server, elsewhere))
        .await
        .unwrap_err();
    assert_eq!(error.reason(), "CredentialNotForAddress");
    assert_eq!(server.connections(), 0);
    assert_eq!(
        secret(&[("password", "right")]).unwrap_err().reason(),
        "BadCredential"
    );
}

#[tokio::test]
async fn a_jump_host_carries_the_connection_and_must_be_named_in_the_secret() {
    let (user, inner) = (
        key(),
        Rules {
            password: Some("right"),
            ..Rules::default()
        },
    );
    let bastion = Sshd::start(Rules {
        user_key: Some(user.public_key().clone()),
        ..Rules::default()
    })
    .await;
    let server = Sshd::start(inner).await;
    let mut jump = target(&bastion, with_key(&user));
    jump.name = "bastion".into();
    let named = secret(&[
        ("password", "right"),
        ("addresses", "127.0.0.1"),
        ("jumpHosts", "bastion"),
    ])
    .unwrap();
    let through = |credentials| Target {
        jump: Some(Box::new(jump.clone())),
        ..target(&server, credentials)
    };
    let fleet = fleet();
    assert_eq!(
        echo(&fleet, &through(named.clone())).await.unwrap(),
        "hello\n"
    );
    assert_eq!((bastion.connections(), server.connections()), (1, 1));
    let error = echo(&fleet, &through(with_password("right")))
        .await
        .unwrap_err();
    assert_eq!(error.reason(), "CredentialNotForJumpHost");
    let mut locked_out = through(named);
    locked_out.jump.as_mut().unwrap().credentials = with_key(&key());
    let Err(Error::JumpHost { source, .. }) = echo(&fleet, &locked_out).await else {
        panic!("accepted")
    };
    assert_eq!(source.reason(), "AuthRejected");
}
