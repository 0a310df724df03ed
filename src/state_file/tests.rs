use proptest::prelude::*;

use super::*;

fn paused(name: &[u8]) -> SavedApp {
    SavedApp {
        name: name.to_vec(),
        state: State::Paused,
        pause: 1_794_999_940_000,
        until_unix_ms: Some(1_795_000_000_000),
        policy: Policy { rate: 500, burst: 5, concurrency: 20, timeout_ms: 60_000 },
        retry_after: 0,
    }
}

fn maintenance(name: &[u8]) -> SavedApp {
    SavedApp {
        state: State::Maintenance,
        pause: 0,
        until_unix_ms: None,
        policy: Policy::default(),
        retry_after: 120,
        ..paused(name)
    }
}

fn saved() -> Saved {
    Saved { serial: 42, apps: vec![paused(b"shop"), maintenance(b"a b\n%\xff")] }
}

#[test]
fn says_the_same_when_it_is_read_again() {
    assert_eq!(Saved::parse(saved().format().as_bytes()), Ok(saved()));
    assert_eq!(Saved::parse(Saved::default().format().as_bytes()), Ok(Saved::default()));
}

#[test]
fn tells_what_is_wrong_with_a_file() {
    let newer = saved().format().replace("intermission 2", "intermission 3");
    assert_eq!(Saved::parse(b""), Err(Damage::Empty));
    assert_eq!(Saved::parse(newer.as_bytes()), Err(Damage::NewerVersion));
    assert_eq!(Saved::parse(b"\x7fELF\0\0\0\n"), Err(Damage::Corrupt));
    let changed = saved().format().replace("rate=500", "rate=501");
    assert_eq!(Saved::parse(changed.as_bytes()), Err(Damage::Corrupt));
}

#[test]
fn reads_what_the_version_before_wrote() {
    let text = "intermission 1\nserial 7\npaused shop rate=0 burst=0 concurrency=0 timeout=60000\n";
    let text = format!("{text}end 1 {:016x}\n", checksum(text.as_bytes()));
    let saved = Saved::parse(text.as_bytes()).expect("a file of version 1");
    assert_eq!((saved.serial, saved.apps[0].pause), (7, 0));
}

#[test]
fn every_cut_is_noticed() {
    let whole = saved().format();
    for length in 0..whole.len() {
        assert!(Saved::parse(&whole.as_bytes()[..length]).is_err(), "cut at {length}");
    }
}

proptest! {
    #[test]
    fn every_name_survives(name in proptest::collection::vec(any::<u8>(), 1..=MAX_NAME)) {
        let saved = Saved { serial: 1, apps: vec![paused(&name), maintenance(&name)] };
        prop_assert_eq!(Saved::parse(saved.format().as_bytes()), Ok(saved));
    }

    #[test]
    fn every_changed_byte_is_noticed(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = saved().format().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        prop_assert!(Saved::parse(&bytes).is_err());
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Saved::parse(&bytes);
    }

    #[test]
    fn no_lines_are_too_strange(lines in "(intermission 1\n)?(serial [0-9]{1,21}\n)?([a-z]{4,11} [!-~]{0,9}( [a-z]{2,11}=[0-9]{0,21}){0,4}\n){0,4}(end [0-9] [0-9a-f]{16}\n)?") {
        let _ = Saved::parse(lines.as_bytes());
    }
}
