//! What connections share, what is tried again, and what ends when.

use std::time::Duration;

use reach::ssh::{Error, Fleet, Limits};
use tokio::time::Instant;

use crate::{
    sshd::{Mishap, Rules, Sshd},
    stage::{echo, fleet, secret, soon, target, with_password},
};

#[tokio::test]
async fn a_connection_is_reused_and_more_are_opened_above_its_channels() {
    let server = Sshd::start(Rules {
        password: Some("right"),
        ..Rules::default()
    })
    .await;
    let (fleet, target) = (fleet(), target(&server, with_password("right")));
    for _ in 0..5 {
        echo(&fleet, &target).await.unwrap();
    }
    assert_eq!(server.connections(), 1);
    let sessions = futures::future::try_join_all((0..20).map(|_| fleet.session(&target, soon())))
        .await
        .unwrap();
    assert_eq!(
        (sessions.len(), server.connections()),
        (20, 3),
        "8 channels on each"
    );
    drop(sessions);
    let mut another = target.clone();
    another.user = "somebody".into();
    echo(&fleet, &another).await.unwrap();
    assert_eq!(
        server.connections(),
        4,
        "another user never shares a connection"
    );
}

#[tokio::test]
async fn a_server_that_takes_fewer_sessions_gets_more_connections() {
    let server = Sshd::start(Rules {
        password: Some("right"),
        max_sessions: 2,
        ..Rules::default()
    })
    .await;
    let (fleet, target) = (fleet(), target(&server, with_password("right")));
    let sessions = futures::future::try_join_all((0..6).map(|_| fleet.session(&target, soon())))
        .await
        .unwrap();
    assert_eq!((sessions.len(), server.connections()), (6, 3));
    let none = Sshd::start(Rules {
        password: Some("right"),
        max_sessions: 0,
        ..Rules::default()
    })
    .await;
    let error = echo(&fleet, &self::target(&none, with_password("right")))
        .await
        .unwrap_err();
    assert_eq!(error.reason(), "ChannelRefused");
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_broken_one_is_replaced() {
    let server = Sshd::start(Rules {
        password: Some("right"),
        ..Rules::default()
    })
    .await;
    let fleet = Fleet::new(Limits {
        idle_timeout: Duration::from_millis(20),
        ..Limits::default()
    });
    let target = target(&server, with_password("right"));
    echo(&fleet, &target).await.unwrap();
    while fleet.connections() > 0 {
        tokio::task::yield_now().await;
    }
    let fleet = self::fleet();
    echo(&fleet, &target).await.unwrap();
    server.cut();
    assert_eq!(
        echo(&fleet, &target).await.unwrap(),
        "hello\n",
        "nothing had been sent, so a new connection is safe"
    );
}

#[tokio::test]
async fn a_command_that_is_cut_off_is_lost_and_not_repeated() {
    let server = Sshd::start(Rules {
        password: Some("right"),
        ..Rules::default()
    })
    .await;
    let (fleet, target) = (fleet(), target(&server, with_password("right")));
    let mut exchange = fleet
        .session(&target, soon())
        .await
        .unwrap()
        .exec("echo begun; exec sleep 60", "")
        .await
        .unwrap();
    assert!(exchange.next().await.unwrap().is_some());
    server.cut();
    assert_eq!(
        exchange.next().await.unwrap_err().reason(),
        "ConnectionLost"
    );
    assert_eq!(server.commands().len(), 1);
}

#[tokio::test]
async fn dropped_and_forgotten_handshakes_are_tried_again_with_fewer_at_once() {
    let mishaps = [Mishap::Dropped, Mishap::Dropped, Mishap::Ignored].into();
    let server = Sshd::start(Rules {
        password: Some("right"),
        mishaps,
        ..Rules::default()
    })
    .await;
    let fleet = Fleet::new(Limits {
        handshake_timeout: Duration::from_millis(300),
        ..Limits::default()
    });
    let before = fleet.handshake_limit("team");
    assert_eq!(
        echo(&fleet, &target(&server, with_password("right")))
            .await
            .unwrap(),
        "hello\n"
    );
    assert_eq!(server.connections(), 4);
    assert!(fleet.handshake_limit("team") < before);
}

#[tokio::test]
async fn delivery_ends_at_its_deadline_and_names_the_last_failure() {
    let mishaps = std::iter::repeat_n(Mishap::Dropped, 1000).collect();
    let server = Sshd::start(Rules {
        password: Some("right"),
        mishaps,
        ..Rules::default()
    })
    .await;
    let deadline = Instant::now() + Duration::from_millis(200);
    let error = fleet()
        .session(&target(&server, with_password("right")), deadline)
        .await
        .unwrap_err();
    let Error::DeliveryTimedOut {
        last: Some(last), ..
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(last.reason(), "Handshake");
}

#[tokio::test]
async fn every_step_on_the_way_has_its_error() {
    let server = Sshd::start(Rules {
        password: Some("right"),
        ..Rules::default()
    })
    .await;
    let mut closed = target(&server, with_password("right"));
    closed.port = 1;
    assert_eq!(
        echo(&fleet(), &closed).await.unwrap_err().reason(),
        "Connect"
    );
    let mut nowhere = target(
        &server,
        secret(&[("password", "right"), ("addresses", "*.invalid")]).unwrap(),
    );
    nowhere.address = "no-such-host.invalid".into();
    assert_eq!(
        echo(&fleet(), &nowhere).await.unwrap_err().reason(),
        "Resolve"
    );
}

#[tokio::test]
async fn an_upload_is_whole_or_absent_and_says_which_path_failed() {
    let server = Sshd::start(Rules {
        password: Some("right"),
        ..Rules::default()
    })
    .await;
    let (fleet, target) = (fleet(), target(&server, with_password("right")));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a b/it's.bin");
    let bytes: Vec<u8> = (0..1_500_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let path = path.to_str().unwrap();
    fleet
        .upload(&target, bytes.clone().into(), path, 0o700, soon())
        .await
        .unwrap();
    assert_eq!(std::fs::read(path).unwrap(), bytes);
    assert_eq!(
        std::fs::read_dir(folder.path().join("a b"))
            .unwrap()
            .count(),
        1,
        "no leftovers"
    );
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.path().join("a b"), &link).unwrap();
    for unsafe_folder in [folder.path(), &link, &link.join("below")] {
        let path = unsafe_folder.join("file");
        let path = path.to_str().unwrap();
        let error = fleet
            .upload(&target, bytes.clone().into(), path, 0o700, soon())
            .await
            .unwrap_err();
        assert_eq!(error.reason(), "UploadUnsafe", "{error}");
    }
    let below = folder.path().join("a b/below");
    assert!(!below.exists(), "nothing is made where a link leads");
    let error = fleet
        .upload(&target, bytes.into(), "/proc/nowhere/file", 0o700, soon())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::UploadFailed { path, .. } if path == "/proc/nowhere/file"),
        "{error}"
    );
}
