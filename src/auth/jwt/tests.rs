use std::time::{Duration, SystemTime};

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair,
};
use serde_json::json;

use super::*;

const ISSUER: &str = "https://id.example.com";
const AUDIENCE: &str = "https://mcp.example.com/mcp";
/// What time it is, in seconds since 1970.
const NOW: u64 = 1_800_000_000;

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key that signs.
enum Signer {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl Signer {
    fn ec() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self::Ec(EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).unwrap())
    }

    fn ed() -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed(Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap())
    }

    fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::from_pkcs8(include_bytes!("tests/rsa.pk8")).unwrap())
    }

    fn jwk(&self, id: &str) -> Value {
        let mut jwk = match self {
            Self::Ec(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": base64(x), "y": base64(y)})
            }
            Self::Ed(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64(key.public_key())})
            }
            Self::Rsa(key) => {
                let public = ring::signature::RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({"kty": "RSA", "n": base64(public.n), "e": base64(public.e)})
            }
        };
        jwk["kid"] = json!(id);
        jwk
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!(
            "{}.{}",
            base64(header.to_string()),
            base64(claims.to_string())
        );
        let random = SystemRandom::new();
        let signature = match self {
            Self::Ec(key) => key
                .sign(&random, message.as_bytes())
                .unwrap()
                .as_ref()
                .to_vec(),
            Self::Ed(key) => key.sign(message.as_bytes()).as_ref().to_vec(),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                let encoding: &dyn ring::signature::RsaEncoding = if header["alg"] == "PS256" {
                    &RSA_PSS_SHA256
                } else {
                    &RSA_PKCS1_SHA256
                };
                let message = message.as_bytes();
                key.sign(encoding, &random, message, &mut signature)
                    .unwrap();
                signature
            }
        };
        format!("{message}.{}", base64(signature))
    }
}

fn key_set(keys: &[Value]) -> KeySet {
    KeySet::read(json!({"keys": keys}).to_string().as_bytes()).unwrap()
}

fn rules() -> Rules {
    Rules {
        issuer: ISSUER.into(),
        audiences: Audiences::new(&[AUDIENCE.to_owned()], None),
        algorithms: vec![
            Algorithm::ES256,
            Algorithm::RS256,
            Algorithm::PS256,
            Algorithm::EdDSA,
        ],
        typ: None,
        required: Map::new(),
        leeway: Duration::from_secs(30),
        max_lifetime: Duration::from_hours(24),
        names: ClaimNames::default(),
    }
}

fn header() -> Value {
    json!({"alg": "ES256", "kid": "one", "typ": "at+jwt"})
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "scope": "read write",
        "iat": NOW, "exp": NOW + 3600,
    })
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

fn without(mut object: Value, name: &str) -> Value {
    object.as_object_mut().unwrap().remove(name);
    object
}

fn verify(token: &str, rules: &Rules, keys: &KeySet) -> Result<Caller, String> {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    let verified = Unverified::read(token).and_then(|token| token.verify(rules, keys, now));
    verified.map_err(|refused| refused.to_string())
}

#[test]
fn a_token_of_each_kind_of_key_is_good() {
    let signers = [
        ("ES256", Signer::ec()),
        ("EdDSA", Signer::ed()),
        ("RS256", Signer::rsa()),
        ("PS256", Signer::rsa()),
    ];
    for (algorithm, signer) in signers {
        let keys = key_set(&[signer.jwk("one")]);
        let token = signer.sign(&with(header(), "alg", json!(algorithm)), &claims());
        let caller = verify(&token, &rules(), &keys).unwrap();
        assert_eq!((caller.subject(), caller.tenant()), ("alice", ""));
        assert_eq!(caller.scopes, ["read", "write"]);
        let over = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW + 3600 + 30);
        assert_eq!(caller.expires, Some(over));
        assert_eq!(
            caller.principal.identity().unwrap().issuer,
            crate::auth::Issuer::Server(ISSUER.into())
        );
    }
}

#[test]
fn a_token_without_a_good_signature_is_refused() {
    let signer = Signer::ec();
    let keys = key_set(&[signer.jwk("one"), Signer::rsa().jwk("rsa")]);
    let good = signer.sign(&header(), &claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let forged = |header: Value, signature: &str| {
        format!(
            "{}.{}.{signature}",
            base64(header.to_string()),
            base64(claims().to_string())
        )
    };
    let altered = {
        let other = with(claims(), "sub", json!("root")).to_string();
        format!(
            "{}.{}.{signature}",
            base64(header().to_string()),
            base64(other)
        )
    };
    let cases = [
        ("none", forged(json!({"alg": "none"}), ""), "it is no JWT"),
        ("None", forged(json!({"alg": "None"}), ""), "it is no JWT"),
        (
            "nOnE",
            forged(json!({"alg": "nOnE"}), "AAAA"),
            "it is no JWT",
        ),
        (
            "no algorithm",
            forged(json!({"kid": "one"}), signature),
            "it is no JWT",
        ),
        (
            "no signature",
            format!("{message}."),
            "its signature is wrong",
        ),
        ("two parts", message.to_owned(), "it is no JWT"),
        ("four parts", format!("{good}.AAAA"), "it is no JWT"),
        ("altered", altered, "its signature is wrong"),
        (
            "another key",
            Signer::ec().sign(&header(), &claims()),
            "its signature is wrong",
        ),
        (
            "a shared secret",
            forged(json!({"alg": "HS256", "kid": "rsa"}), signature),
            "its algorithm is not one of its issuer",
        ),
        (
            "a key of another kind",
            forged(json!({"alg": "RS256", "kid": "one"}), signature),
            "its key is not known",
        ),
        (
            "an unknown key",
            signer.sign(&with(header(), "kid", json!("two")), &claims()),
            "its key is not known",
        ),
        (
            "a path for a key",
            signer.sign(&with(header(), "kid", json!("../../etc/passwd")), &claims()),
            "its key is not known",
        ),
        (
            "a critical field",
            signer.sign(
                &with(with(header(), "crit", json!(["b64"])), "b64", json!(false)),
                &claims(),
            ),
            "its header has `crit`, which nothing here understands",
        ),
        (
            "a long key id",
            signer.sign(
                &with(header(), "kid", json!("x".repeat(1 << 20))),
                &claims(),
            ),
            "it is no JWT",
        ),
        ("no token", "a.b.c".to_owned(), "it is no JWT"),
    ];
    for (what, token, expected) in cases {
        assert_eq!(
            verify(&token, &rules(), &keys).unwrap_err(),
            expected,
            "{what}"
        );
    }
    assert!(verify(&good, &rules(), &keys).is_ok());
}

#[test]
fn a_token_brings_no_key_of_its_own() {
    let (signer, other) = (Signer::ec(), Signer::ec());
    let keys = key_set(&[signer.jwk("one")]);
    let fields = [
        ("jwk", other.jwk("one")),
        ("jku", json!("https://evil.example/keys")),
        ("x5u", json!("https://evil.example/certificate")),
        ("x5c", json!(["AAAA"])),
    ];
    for (name, value) in fields {
        let header = with(header(), name, value);
        let forged = other.sign(&header, &claims());
        assert_eq!(
            verify(&forged, &rules(), &keys).unwrap_err(),
            "its signature is wrong",
            "{name}"
        );
        // What the right key has signed is good whatever stands beside it.
        assert!(
            verify(&signer.sign(&header, &claims()), &rules(), &keys).is_ok(),
            "{name}"
        );
    }
}

#[test]
fn a_key_without_a_name_is_found_by_its_kind() {
    let (signer, rsa) = (Signer::ec(), Signer::rsa());
    let keys = key_set(&[
        rsa.jwk("rsa"),
        Signer::ec().jwk("other"),
        without(signer.jwk("x"), "kid"),
    ]);
    let token = signer.sign(&without(header(), "kid"), &claims());
    assert!(verify(&token, &rules(), &keys).is_ok());
    let named = signer.sign(&header(), &claims());
    assert_eq!(
        verify(&named, &rules(), &keys).unwrap_err(),
        "its key is not known"
    );
}

/// Checks what is said of tokens with these claims.
fn check_claims(cases: Vec<(&str, Value, Option<String>)>) {
    let signer = Signer::ec();
    let keys = key_set(&[signer.jwk("one")]);
    for (what, claims, expected) in cases {
        let token = signer.sign(&header(), &claims);
        assert_eq!(verify(&token, &rules(), &keys).err(), expected, "{what}");
    }
}

fn set(name: &str, value: Value) -> Value {
    with(claims(), name, value)
}

/// What is said of a claim that is not there, or is something else.
fn kind(name: &str) -> String {
    format!("its claim `{name}` is missing or not of the kind that it must be")
}

#[test]
fn claims_must_say_what_the_issuer_promises() {
    let no_audience = "it is for somebody else: its `aud` names none of the audiences";
    let value =
        |name: &str| format!("its claim `{name}` does not have the value that it must have");
    check_claims(vec![
        ("as it is", claims(), None),
        ("no audience", without(claims(), "aud"), Some(kind("aud"))),
        (
            "another audience",
            set("aud", json!("https://other.example")),
            Some(no_audience.into()),
        ),
        (
            "a twin",
            set("aud", json!(format!("{AUDIENCE}.evil"))),
            Some(no_audience.into()),
        ),
        (
            "one of two",
            set("aud", json!(["https://a.example", AUDIENCE])),
            None,
        ),
        (
            "none of no audiences",
            set("aud", json!([])),
            Some(no_audience.into()),
        ),
        (
            "not a text",
            set("aud", json!([AUDIENCE, 1])),
            Some(no_audience.into()),
        ),
        ("no issuer", without(claims(), "iss"), Some(kind("iss"))),
        (
            "two issuers",
            set("iss", json!([ISSUER])),
            Some(kind("iss")),
        ),
        (
            "a slash",
            set("iss", json!(format!("{ISSUER}/"))),
            Some(value("iss")),
        ),
        (
            "no subject",
            without(claims(), "sub"),
            Some("claim `sub` is missing".into()),
        ),
    ]);
}

#[test]
fn a_token_is_good_for_its_time() {
    const DAY: u64 = 24 * 60 * 60;
    let (over, long) = (
        "it has expired".to_owned(),
        "it lasts for longer than tokens may".to_owned(),
    );
    check_claims(vec![
        ("no end", without(claims(), "exp"), Some(kind("exp"))),
        ("ended in the leeway", set("exp", json!(NOW - 29)), None),
        (
            "ended at the leeway",
            set("exp", json!(NOW - 30)),
            Some(over.clone()),
        ),
        ("ended before", set("exp", json!(NOW - 31)), Some(over)),
        (
            "an end in words",
            set("exp", json!((NOW + 60).to_string())),
            Some(kind("exp")),
        ),
        ("a negative end", set("exp", json!(-1)), Some(kind("exp"))),
        (
            "an end far away",
            set("exp", json!(1e18)),
            Some(long.clone()),
        ),
        (
            "an end beyond time",
            set("exp", json!(1e300)),
            Some(kind("exp")),
        ),
        ("a fraction", set("exp", json!(1_800_003_600.5)), None),
        ("the longest", set("exp", json!(NOW + DAY)), None),
        (
            "too long",
            set("exp", json!(NOW + DAY + 1)),
            Some(long.clone()),
        ),
        (
            "too long, of unknown age",
            without(set("exp", json!(NOW + DAY + 1)), "iat"),
            Some(long),
        ),
        ("issued soon", set("iat", json!(NOW + 30)), None),
        (
            "issued later",
            set("iat", json!(NOW + 31)),
            Some("it is not good yet".into()),
        ),
        ("good soon", set("nbf", json!(NOW + 30)), None),
        (
            "good later",
            set("nbf", json!(NOW + 31)),
            Some("it is not good yet".into()),
        ),
        ("good in words", set("nbf", json!("now")), Some(kind("nbf"))),
    ]);
}

#[test]
fn an_operator_may_ask_for_more() {
    let signer = Signer::ec();
    let keys = key_set(&[signer.jwk("one")]);
    let rules = Rules {
        typ: Some("at+jwt".to_owned()),
        required: Map::from_iter([("client".to_owned(), json!("desktop"))]),
        ..rules()
    };
    let claims = with(claims(), "client", json!("desktop"));
    let cases = [
        (json!("at+jwt"), &claims, None),
        (json!("application/AT+JWT"), &claims, None),
        (json!("JWT"), &claims, Some("its `typ` is not `at+jwt`")),
        (Value::Null, &claims, Some("its `typ` is not `at+jwt`")),
        (
            json!("at+jwt"),
            &with(claims.clone(), "client", json!("web")),
            Some("its claim `client` does not have the value that it must have"),
        ),
        (
            json!("at+jwt"),
            &without(claims.clone(), "client"),
            Some("its claim `client` does not have the value that it must have"),
        ),
    ];
    for (typ, claims, expected) in cases {
        let token = signer.sign(&with(header(), "typ", typ.clone()), claims);
        let refused = verify(&token, &rules, &keys).err();
        assert_eq!(refused.as_deref(), expected, "{typ} {claims}");
    }
}

#[test]
fn keys_that_cannot_be_used_are_left_out() {
    let signer = Signer::ec();
    let weak = json!({"kty": "RSA", "n": base64([0xff; 128]), "e": "AQAB", "kid": "weak"});
    let not_for_tokens = [
        json!({"kty": "oct", "k": "c2VjcmV0", "kid": "shared"}),
        weak,
        with(signer.jwk("encryption"), "use", json!("enc")),
        with(signer.jwk("wrapping"), "key_ops", json!(["wrapKey"])),
        with(signer.jwk("other algorithm"), "alg", json!("ES384")),
        with(signer.jwk("other curve"), "crv", json!("P-521")),
        with(signer.jwk("no coordinate"), "x", json!("!")),
        json!({"kty": "AKP", "kid": "new"}),
        json!("no key"),
    ];
    for key in &not_for_tokens {
        let read = KeySet::read(json!({"keys": [key]}).to_string().as_bytes());
        assert_eq!(
            read.unwrap_err().to_string(),
            "none of its 1 keys can check a token",
            "{key}"
        );
    }
    let mut keys = not_for_tokens.to_vec();
    keys.push(with(signer.jwk("one"), "alg", json!("ES256")));
    let token = signer.sign(&header(), &claims());
    assert!(verify(&token, &rules(), &key_set(&keys)).is_ok());

    for document in ["", "<html>", "[]", "{}", "{\"keys\": {}}", "{\"keys\": []}"] {
        assert!(KeySet::read(document.as_bytes()).is_err(), "{document}");
    }
}
