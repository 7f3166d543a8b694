use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;

use super::*;
use crate::secret::{Secret, SecretDigest};

const TOKEN: &str = "mfZ3b1mXk0Qy7h2Vn5cR8w";

/// Whom a header stands for that needs nobody else to say so.
fn authenticate(
    authenticator: &Authenticator,
    header: Option<&[u8]>,
    now: SystemTime,
) -> Result<Arc<Caller>, AuthError> {
    let credential = Credential::of_authorization(header);
    match authenticator.look_up(credential, now)? {
        Known::Caller(caller) => Ok(caller),
        Known::Nothing(_) => Err(AuthError::Unavailable),
    }
}

type Case = (&'static str, Option<&'static [u8]>, Option<AuthError>);

#[test]
fn only_the_token_is_let_in() {
    let authenticator = Authenticator::single_token(&Secret::new(format!("{TOKEN}\n"))).unwrap();
    let cases: [Case; 14] = [
        ("right", Some(b"Bearer mfZ3b1mXk0Qy7h2Vn5cR8w"), None),
        (
            "lower-case scheme",
            Some(b"bearer mfZ3b1mXk0Qy7h2Vn5cR8w"),
            None,
        ),
        ("none", None, Some(AuthError::Missing)),
        (
            "other scheme",
            Some(b"Basic dXNlcjpwYXNz"),
            Some(AuthError::Missing),
        ),
        ("empty", Some(b""), Some(AuthError::Missing)),
        ("scheme alone", Some(b"Bearer"), Some(AuthError::Malformed)),
        (
            "scheme and space",
            Some(b"Bearer "),
            Some(AuthError::Malformed),
        ),
        (
            "two spaces",
            Some(b"Bearer  mfZ3b1mXk0Qy7h2Vn5cR8w"),
            Some(AuthError::Malformed),
        ),
        (
            "space after",
            Some(b"Bearer mfZ3b1mXk0Qy7h2Vn5cR8w "),
            Some(AuthError::Malformed),
        ),
        (
            "two tokens",
            Some(b"Bearer a, Bearer b"),
            Some(AuthError::Malformed),
        ),
        (
            "not UTF-8",
            Some(b"Bearer \xff\xfe"),
            Some(AuthError::Malformed),
        ),
        ("wrong", Some(b"Bearer wrong"), Some(AuthError::Invalid)),
        (
            "prefix",
            Some(b"Bearer mfZ3b1mXk0Qy7h2Vn5cR8"),
            Some(AuthError::Invalid),
        ),
        (
            "longer",
            Some(b"Bearer mfZ3b1mXk0Qy7h2Vn5cR8w="),
            Some(AuthError::Invalid),
        ),
    ];
    for (name, header, expected) in cases {
        let outcome = authenticate(&authenticator, header, SystemTime::UNIX_EPOCH);
        assert_eq!(outcome.err(), expected, "{name}");
    }
    let caller = authenticate(
        &authenticator,
        Some(b"Bearer mfZ3b1mXk0Qy7h2Vn5cR8w"),
        SystemTime::UNIX_EPOCH,
    )
    .unwrap();
    assert_eq!(caller.principal.to_string(), "default");
    assert!(caller.principal.is_shared());
}

#[test]
fn an_open_server_knows_one_anonymous_caller() {
    let authenticator = Authenticator::open();
    let now = SystemTime::UNIX_EPOCH;
    let first = authenticate(&authenticator, None, now).unwrap();
    let second = authenticate(&authenticator, Some(b"Bearer x"), now).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    assert!(authenticator.may_return(&Principal::Anonymous, now));
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn a_token_without_claims_has_those_of_its_entry() {
    let cases = [
        (Principal::Anonymous, vec![], json!({})),
        (
            Principal::user(Issuer::AuthFile, "alice", None),
            vec![],
            json!({"sub": "alice"}),
        ),
        (
            Principal::user(Issuer::AuthFile, "bob", Some("acme".to_owned())),
            vec!["read".to_owned(), "write".to_owned()],
            json!({"sub": "bob", "tenant": "acme", "scope": "read write"}),
        ),
    ];
    for (principal, scopes, expected) in cases {
        let caller = Caller::new(principal).with_scopes(scopes);
        assert_eq!(Value::Object(caller.claims), expected);
    }
}

fn token(token: &str, subject: &str, expires: Option<u64>) -> (SecretDigest, Caller) {
    let caller = Caller {
        expires: expires.map(at),
        ..Caller::new(Principal::user(Issuer::AuthFile, subject, None))
    };
    (SecretDigest::of(token.as_bytes()), caller)
}

#[test]
fn tokens_are_told_apart_and_end() {
    let authenticator = Authenticator::tokens([
        token("a1", "alice", Some(10)),
        token("a2", "alice", Some(20)),
        token("b1", "bob", Some(10)),
        token("b2", "bob", None),
    ]);
    let cases: [(&[u8], u64, Result<&str, AuthError>); 7] = [
        (b"Bearer a1", 9, Ok("alice")),
        (b"Bearer a1", 10, Err(AuthError::Expired)),
        (b"Bearer a2", 10, Ok("alice")),
        (b"Bearer a2", 20, Err(AuthError::Expired)),
        (b"Bearer b1", 11, Err(AuthError::Expired)),
        (b"Bearer b2", u64::from(u32::MAX), Ok("bob")),
        (b"Bearer b3", 0, Err(AuthError::Invalid)),
    ];
    for (header, now, expected) in cases {
        let outcome = authenticate(&authenticator, Some(header), at(now));
        let subject = outcome.map(|caller| caller.principal.to_string());
        assert_eq!(subject, expected.map(str::to_owned), "{header:?} at {now}");
    }
    let lasting = [
        ("alice", 9, true),
        ("alice", 19, true),
        ("alice", 20, false),
        ("bob", u64::from(u32::MAX), true),
        ("carol", 0, false),
    ];
    for (subject, now, expected) in lasting {
        let principal = Principal::user(Issuer::AuthFile, subject, None);
        let may_return = authenticator.may_return(&principal, at(now));
        assert_eq!(may_return, expected, "{subject} at {now}");
    }
}

#[test]
fn no_tokens_let_nobody_in() {
    let authenticator = Authenticator::tokens([]);
    let now = SystemTime::UNIX_EPOCH;
    assert_eq!(
        authenticate(&authenticator, Some(b"Bearer x"), now),
        Err(AuthError::Invalid)
    );
    assert_eq!(
        authenticate(&authenticator, None, now),
        Err(AuthError::Missing)
    );
}

#[test]
fn weak_tokens_are_refused() {
    let cases = [
        ("", TokenError::TooShort(0)),
        ("changeme", TokenError::TooShort(8)),
        ("mfZ3b1mXk0Qy7h2Vn5cR8", TokenError::TooShort(21)),
        ("two words of many characters", TokenError::NotAToken),
        (
            "mfZ3b1mXk0Qy7h2Vn5cR8w\nmfZ3b1mXk0Qy7h2Vn5cR8w",
            TokenError::NotAToken,
        ),
    ];
    for (token, expected) in cases {
        let error = Authenticator::single_token(&Secret::new(token)).unwrap_err();
        assert_eq!(error, expected, "{token}");
    }
}

/// Whether a credential is taken back by now.
fn is_revoked(caller: &Caller) -> bool {
    let is_revoked = caller.revocation.is_revoked();
    let is_told = caller.revocation.revoked().now_or_never().is_some();
    assert_eq!(is_revoked, is_told);
    is_revoked
}

#[test]
fn a_credential_may_end_after_its_caller_was_let_in() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
    let caller = |principal: Principal, left: Option<u64>, is_revoked: bool| {
        let caller = Caller {
            expires: left.map(|left| now + Duration::from_secs(left)),
            ..Caller::new(principal)
        };
        if is_revoked {
            caller.revocation.revoke();
        }
        caller
    };
    let alice = || Principal::user(Issuer::AuthFile, "alice", None);
    let cases = [
        (caller(alice(), None, false), Ok(())),
        (caller(alice(), Some(1), false), Ok(())),
        (caller(alice(), Some(0), false), Err(AuthError::Expired)),
        (caller(alice(), Some(1), true), Err(AuthError::Invalid)),
        (
            caller(Principal::Anonymous, None, true),
            Err(AuthError::Missing),
        ),
    ];
    for (caller, expected) in cases {
        assert_eq!(caller.check(now), expected, "{caller:?}");
    }
}

#[test]
fn what_stays_the_same_goes_on_and_the_rest_is_taken_back() {
    let now = SystemTime::UNIX_EPOCH;
    let dba = || {
        let (digest, caller) = token("c", "carol", None);
        let roles = vec!["dba".to_owned()];
        (digest, Caller { roles, ..caller })
    };
    let current = Current::new(Authenticator::tokens([
        token("a", "alice", None),
        token("b", "bob", None),
        dba(),
    ]));
    let of = |token: &[u8]| authenticate(&current.load(), Some(token), now);
    let [alice, bob, carol] =
        [b"Bearer a", b"Bearer b", b"Bearer c"].map(|token| of(token).unwrap());
    let mut replacements = current.replacements();
    current.replace(Authenticator::tokens([
        token("a", "alice", None),
        token("c", "carol", None),
        token("d", "dave", None),
    ]));
    assert!(replacements.changed().now_or_never().is_some());
    assert!(Arc::ptr_eq(&of(b"Bearer a").unwrap(), &alice));
    assert!(!is_revoked(&alice));
    assert_eq!(of(b"Bearer b"), Err(AuthError::Invalid));
    assert!(is_revoked(&bob));
    let other = of(b"Bearer c").unwrap();
    assert!(is_revoked(&carol), "it was more than it is");
    assert!(!is_revoked(&other));
    assert!(of(b"Bearer d").is_ok());
}
