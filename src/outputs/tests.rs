use std::path::{Path, PathBuf};

use super::*;
use crate::auth::Issuer;
use crate::catalog::{Catalog, Environment};

fn tool() -> Arc<Tool> {
    let text = "tools: {t: {description: d, exec: /bin/cat, allow: [role:reader]}}";
    let environment = Environment::default();
    let loaded = Catalog::parse(text, Path::new("tools.yaml"), &environment).unwrap();
    Arc::clone(loaded.catalog.tool("t").unwrap())
}

fn caller(subject: &str, roles: &[&str]) -> Caller {
    Caller {
        roles: roles.iter().map(ToString::to_string).collect(),
        ..Caller::new(Principal::user(Issuer::AuthFile, subject, None))
    }
}

async fn keep(outputs: &Arc<Outputs>, subject: &str, bytes: &[u8]) -> Uri {
    let mut writer = outputs.begin(&caller(subject, &[]).principal).unwrap();
    writer.reserve(bytes.len()).unwrap();
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = writer.write(rest).await.unwrap();
        rest = &rest[written..];
    }
    let tool = tool();
    let of = (&tool, Arc::clone(tool.secrets()));
    writer.keep(of, MediaType::text()).await.unwrap()
}

/// The file of an output that this caller can find.
fn file(outputs: &Outputs, uri: &Uri, subject: &str) -> Option<PathBuf> {
    let caller = caller(subject, &["reader"]);
    let reading = outputs.find(uri.as_str(), &caller, Instant::now())?;
    reading.tool.file().map(Path::to_owned)
}

#[tokio::test(start_paused = true)]
async fn an_output_is_for_its_principal_and_for_a_while() {
    let outputs = Arc::new(Outputs::default());
    let uri = keep(&outputs, "alice", b"whole").await;
    let path = file(&outputs, &uri, "alice").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"whole");
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let folder = path.parent().unwrap();
    assert_eq!((mode(&path), mode(folder)), (0o600, 0o700));

    let now = Instant::now();
    let find = |uri: &str, caller: &Caller, now| outputs.find(uri, caller, now).is_some();
    let alice = caller("alice", &["reader"]);
    let guess = format!("{ADDRESS}{}", "0".repeat(32));
    assert!(find(uri.as_str(), &alice, now));
    assert!(!find(&guess, &alice, now));
    assert!(!find(uri.as_str(), &caller("bob", &["reader"]), now));
    assert!(!find(uri.as_str(), &caller("alice", &["writer"]), now));
    assert!(!find(uri.as_str(), &alice, now + KEPT_FOR));
    // For the audit log it is there, whoever asks.
    assert!(outputs.has(uri.as_str(), now));
    assert!(!outputs.has(&guess, now));
    assert!(!outputs.has(uri.as_str(), now + KEPT_FOR));

    // What cannot be found any more is gone soon.
    let closing = CancellationToken::new();
    let end = tokio::time::sleep(KEPT_FOR + FORGET_INTERVAL);
    tokio::select! {
        () = outputs.keep_young(closing) => {}
        () = end => {}
    }
    assert!(!path.exists());
    let nothing = Statistics {
        outputs: 0,
        bytes: 0,
    };
    assert_eq!(outputs.statistics(), nothing);
    let folder = folder.to_owned();
    outputs.clear();
    assert!(!folder.exists());
}

#[tokio::test]
async fn whoever_has_most_makes_room_the_oldest_first() {
    let limits = Limits {
        outputs: 4,
        bytes: 10,
    };
    let outputs = Arc::new(Outputs::new(limits));
    let a1 = keep(&outputs, "alice", b"aaa").await;
    let b1 = keep(&outputs, "bob", b"bbb").await;
    let b2 = keep(&outputs, "bob", b"bbb").await;
    let there = |uri: &Uri, subject: &str| file(&outputs, uri, subject).is_some();
    // The bytes: bob makes room for himself.
    let b3 = keep(&outputs, "bob", b"bb").await;
    assert!(there(&a1, "alice") && !there(&b1, "bob") && there(&b2, "bob"));
    // Others get it of whoever has most, and not of the oldest.
    let c1 = keep(&outputs, "carol", b"ccc").await;
    assert!(there(&a1, "alice") && !there(&b2, "bob") && there(&c1, "carol"));
    // The number.
    let d1 = keep(&outputs, "dave", b"d").await;
    let d2 = keep(&outputs, "dave", b"d").await;
    assert!(!there(&d1, "dave") && there(&d2, "dave") && there(&b3, "bob"));
    assert_eq!(outputs.statistics().outputs, 4);

    // What is being written has room too, but of nobody who has less, and gives it back.
    let mut writer = outputs.begin(&caller("eve", &[]).principal).unwrap();
    assert_eq!(writer.reserve(2), Ok(()));
    assert!(
        !there(&a1, "alice") && there(&c1, "carol"),
        "as much, and newer"
    );
    assert_eq!(writer.reserve(1), Ok(()));
    assert_eq!(writer.reserve(2), Err(NoRoom));
    assert!(there(&c1, "carol"));
    let three = Statistics {
        outputs: 3,
        bytes: 9,
    };
    assert_eq!(outputs.statistics(), three);
    outputs.clear();
    drop(writer);
    assert!(outputs.state.lock().shares.is_empty());
    let nothing = Statistics {
        outputs: 0,
        bytes: 0,
    };
    assert_eq!(outputs.statistics(), nothing);
}

#[tokio::test]
async fn one_output_is_no_larger_than_a_file_that_is_served() {
    let outputs = Arc::new(Outputs::default());
    let mut writer = outputs.begin(&Principal::Anonymous).unwrap();
    let most = usize::try_from(MAX_OUTPUT).unwrap();
    assert_eq!(writer.reserve(most), Ok(()));
    assert_eq!(writer.reserve(1), Err(NoRoom));
    assert_eq!(outputs.statistics().bytes, MAX_OUTPUT);
}

#[tokio::test]
async fn a_folder_that_somebody_cleaned_up_is_made_again() {
    let outputs = Arc::new(Outputs::default());
    let first = keep(&outputs, "alice", b"first").await;
    let folder = file(&outputs, &first, "alice").unwrap();
    std::fs::remove_dir_all(folder.parent().unwrap()).unwrap();
    let second = keep(&outputs, "alice", b"second").await;
    let path = file(&outputs, &second, "alice").unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"second");
}
