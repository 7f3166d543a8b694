use std::os::unix::fs::symlink;

use super::*;
use crate::changes::tests::AlwaysTheSame;
use crate::changes::{Listener, Lists};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// The files of a folder as resources, watched.
struct Watching {
    folder: tempfile::TempDir,
    files: Files,
    changes: Changes,
    closing: CancellationToken,
}

impl Watching {
    fn start(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &&str| ((*name).to_owned(), folder.path().join(name));
        let files = Files::new(names.iter().map(path).collect());
        let watching = Self {
            folder,
            files,
            changes: Changes::default(),
            closing: CancellationToken::new(),
        };
        watching
            .changes
            .watch_with(Box::new(watching.files.clone()));
        watching
    }

    /// Runs a test beside the watcher.
    async fn during(&self, test: impl Future<Output = ()>) {
        let run = self
            .files
            .clone()
            .run(self.changes.clone(), self.closing.clone());
        let test = async {
            tokio::time::timeout(PATIENCE, test).await.unwrap();
            self.closing.cancel();
        };
        tokio::join!(run, test);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    async fn listener(&self, names: &[&str]) -> Listener {
        let listener = self.changes.listen(Lists::default(), AlwaysTheSame);
        for name in names {
            listener.subscribe(name).unwrap();
        }
        self.changes.settled().await;
        listener
    }

    /// How many folders are watched when all has been done that was asked for.
    async fn folders(&self) -> usize {
        self.changes.settled().await;
        self.files.folders()
    }
}

async fn check(listener: &Listener, name: &str, what: &str) {
    assert_eq!(
        listener.next().await,
        Change::Resource(name.into()),
        "{what}"
    );
}

#[tokio::test]
async fn however_a_file_changes_its_subscribers_hear_of_it() {
    let watching = Watching::start(&["a", "b"]);
    watching.write("a", "one");
    watching
        .during(async {
            let listener = watching.listener(&["a", "b"]).await;
            watching.write("a", "longer");
            check(&listener, "a", "written").await;
            watching.write("b.new", "first");
            fs::rename(watching.path("b.new"), watching.path("b")).unwrap();
            check(&listener, "b", "made by a rename").await;
            watching.write("b.new", "second one");
            fs::rename(watching.path("b.new"), watching.path("b")).unwrap();
            check(&listener, "b", "replaced by a rename").await;
            fs::remove_file(watching.path("a")).unwrap();
            check(&listener, "a", "removed").await;
            watching.write("a", "again");
            check(&listener, "a", "made again").await;
        })
        .await;
}

#[tokio::test]
async fn a_mounted_configmap_changes_by_one_rename() {
    let watching = Watching::start(&["config"]);
    let version = |number: &str| {
        fs::create_dir(watching.path(number)).unwrap();
        watching.write(&format!("{number}/config"), number);
        symlink(number, watching.path("..data.new")).unwrap();
        fs::rename(watching.path("..data.new"), watching.path("..data")).unwrap();
    };
    version("..1");
    symlink("..data/config", watching.path("config")).unwrap();
    watching
        .during(async {
            let listener = watching.listener(&["config"]).await;
            for number in ["..2", "..3"] {
                version(number);
                check(&listener, "config", number).await;
            }
            watching.write("..3/config", "in place");
            check(&listener, "config", "what the link leads to").await;
        })
        .await;
}

#[tokio::test]
async fn a_link_on_the_way_to_a_file_counts() {
    let watching = Watching::start(&["current/file"]);
    for version in ["one", "two"] {
        fs::create_dir(watching.path(version)).unwrap();
        watching.write(&format!("{version}/file"), version);
    }
    symlink("one", watching.path("current")).unwrap();
    watching
        .during(async {
            let listener = watching.listener(&["current/file"]).await;
            symlink("two", watching.path("next")).unwrap();
            fs::rename(watching.path("next"), watching.path("current")).unwrap();
            check(&listener, "current/file", "led elsewhere").await;
        })
        .await;
}

#[tokio::test]
async fn what_happens_to_others_is_no_change() {
    let watching = Watching::start(&["a", "b"]);
    watching.write("a", "one");
    watching
        .during(async {
            let listener = watching.listener(&["a", "b"]).await;
            watching.write("c", "beside");
            fs::read(watching.path("a")).unwrap();
            for text in ["1", "22", "333"] {
                watching.write("b", text);
            }
            check(&listener, "b", "the only one").await;
            let more = tokio::time::timeout(5 * DEBOUNCE, listener.next()).await;
            assert!(more.is_err(), "{more:?}");
        })
        .await;
}

#[tokio::test]
async fn folders_are_watched_while_somebody_is_subscribed() {
    let watching = Watching::start(&["x/a", "x/b", "y/c"]);
    for folder in ["x", "y"] {
        fs::create_dir(watching.path(folder)).unwrap();
    }
    watching
        .during(async {
            assert_eq!(watching.folders().await, 0);
            let first = watching.listener(&["x/a", "x/b", "unknown"]).await;
            assert_eq!(watching.folders().await, 1);
            let second = watching.listener(&["x/a", "y/c"]).await;
            assert_eq!(watching.folders().await, 2);
            drop(first);
            assert_eq!(watching.folders().await, 2);
            second.unsubscribe("x/a");
            assert_eq!(watching.folders().await, 1);
            drop(second);
            assert_eq!(watching.folders().await, 0);
        })
        .await;
}

#[tokio::test]
async fn a_folder_that_is_not_there_harms_nobody() {
    let watching = Watching::start(&["missing/a", "b"]);
    watching
        .during(async {
            let listener = watching.listener(&["missing/a", "b"]).await;
            watching.write("b", "there");
            check(&listener, "b", "the other one").await;
        })
        .await;
}
