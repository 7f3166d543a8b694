//! Keys of an issuer that are replaced by others, through the real binary (case W11).

use std::time::{Duration, Instant};

use crate::issuer::{Issuer, Key, Mood, key_set};
use crate::jwt::{ask, trusting};
use crate::support::{PATIENCE, TestServer};

/// For how long after a fetch a key that is not known causes no other one.
const COOLDOWN: Duration = Duration::from_secs(30);

/// Slower than those who guess are told to wait.
const PAUSE: Duration = Duration::from_millis(500);

/// Asks with a token until it is good.
fn wait_until_good(server: &TestServer, token: &str) {
    let deadline = Instant::now() + COOLDOWN + PATIENCE;
    loop {
        let status = ask(server, token).status;
        if status == 200 {
            return;
        }
        assert_eq!(status, 401);
        assert!(Instant::now() < deadline, "the new key is not found");
        std::thread::sleep(PAUSE);
    }
}

#[test]
fn a_key_that_is_new_is_fetched_and_one_that_is_gone_counts_no_more() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let (adds, replaces) = (Issuer::with_keys(&[&old]), Issuer::with_keys(&[&old]));
    let server = trusting(&[&adds, &replaces]);
    for issuer in [&adds, &replaces] {
        let token = old.token(&issuer.claims("alice"));
        assert_eq!(ask(&server, &token).status, 200);
    }
    adds.is_now(Mood::Json(key_set(&[&old, &new])));
    replaces.is_now(Mood::Json(key_set(&[&new])));
    for (issuer, status) in [(&adds, 200), (&replaces, 401)] {
        wait_until_good(&server, &new.token(&issuer.claims("alice")));
        assert_eq!(issuer.asked().len(), 2, "one more fetch is enough");
        let token = old.token(&issuer.claims("alice"));
        assert_eq!(ask(&server, &token).status, status);
    }
}
