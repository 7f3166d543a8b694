//! The cookbook does what it says: every recipe is served, and what it shows is what happens.
//!
//! `UPDATE=1 cargo test` rewrites what the commands print. What a client hears is only compared.

mod document;
pub(crate) mod talk;
pub(crate) mod upstream;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mcp_serve::protocol::version::Era;

use crate::support::{ERAS, TestServer, sha256};
use document::{Block, Recipe, Shown};
use talk::Talk;
use upstream::Upstream;

const FILE: &str = "docs/cookbook.md";
/// Programs that a machine may lack, with answers that are always the same.
pub(crate) const STAND_INS: &str = "tests/it/cookbook/bin";
/// Where the recipes have their secrets.
const SECRETS: &str = "/etc/mcp-serve";
/// The secrets, and what stands in them.
const SECRET_FILES: [(&str, &str); 3] = [
    ("tracker.token", upstream::TRACKER_TOKEN),
    ("billing.secret", upstream::BILLING_SECRET),
    ("queue.password", "correct horse battery"),
];

#[test]
fn every_recipe_does_what_it_shows() {
    let text = fs::read_to_string(FILE).unwrap();
    let recipes = document::recipes(&text);
    assert!(recipes.len() > 30, "{} recipes", recipes.len());
    let upstream = Upstream::start();
    let mut printed = Vec::new();
    let mut failures = Vec::new();
    for recipe in &recipes {
        assert!(
            recipe.shows_something(),
            "{}: no run shows that it works",
            recipe.title
        );
        let kitchen = Kitchen::new(recipe, &upstream);
        if let Err(refusal) = kitchen.check() {
            failures.push(format!("{}: {refusal}", recipe.title));
            continue;
        }
        for block in recipe.blocks() {
            match &block.shown {
                Shown::Console => printed.push((block, kitchen.console(block))),
                Shown::Talk => failures.extend(kitchen.talk(&block.text)),
                Shown::File(_) => {}
            }
        }
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(FILE, document::replace(&text, &printed)).unwrap();
    } else {
        let differs = |(block, now): &(&Block, String)| {
            (block.text != *now).then(|| format!("line {}:\n{now}", block.line))
        };
        failures.extend(printed.iter().filter_map(differs));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn the_contents_of_the_cookbook_name_every_recipe() {
    let text = fs::read_to_string(FILE).unwrap();
    let (contents, _) = text.split_once("\n## ").unwrap();
    for title in text.lines().filter_map(|line| line.strip_prefix("## ")) {
        let anchor: String = title
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        assert!(
            contents.contains(&format!("](#{anchor})")),
            "nothing links to {title}"
        );
    }
}

/// A folder in which one recipe is laid out.
struct Kitchen<'a> {
    folder: tempfile::TempDir,
    recipe: &'a Recipe,
    upstream: &'a Upstream,
}

impl<'a> Kitchen<'a> {
    fn new(recipe: &'a Recipe, upstream: &'a Upstream) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kitchen = Self {
            folder,
            recipe,
            upstream,
        };
        let bin = kitchen.folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        symlink(env!("CARGO_BIN_EXE_mcp-serve"), bin.join("mcp-serve")).unwrap();
        for (name, secret) in SECRET_FILES {
            let file = kitchen.secrets().join(name);
            write(&file, secret, 0o600);
        }
        kitchen.lay_out(&kitchen.work());
        kitchen
    }

    /// Where the commands run.
    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    fn secrets(&self) -> PathBuf {
        self.folder.path().join("secrets")
    }

    /// The programs of the recipe: stand-ins first.
    fn path(&self) -> String {
        let stand_ins = fs::canonicalize(STAND_INS).unwrap();
        let own = self.folder.path().join("bin");
        format!("{}:{}:/usr/bin:/bin", own.display(), stand_ins.display())
    }

    /// Writes the files of the recipe into a folder.
    fn lay_out(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        for block in self.recipe.blocks() {
            let Shown::File(name) = &block.shown else {
                continue;
            };
            let mode = if block.text.starts_with("#!") {
                0o755
            } else {
                0o600
            };
            write(&folder.join(name), &self.here(&block.text), mode);
        }
    }

    /// A file as it must be on this machine: secrets, tokens and hosts are the test's own.
    fn here(&self, text: &str) -> String {
        let text = text.replace(SECRETS, &self.secrets().display().to_string());
        with_tokens(&self.upstream.instead_of_hosts(&text))
    }

    /// Has the definitions checked, so that one recipe that cannot be served is told like all others.
    fn check(&self) -> Result<(), String> {
        let mut check = Command::new(env!("CARGO_BIN_EXE_mcp-serve"));
        let check = check.arg("check").current_dir(self.work()).env_clear();
        if self.work().join("auth.yaml").exists() {
            check.args(["--auth", "auth.yaml"]);
        }
        let output = check.env("PATH", self.path()).output().unwrap();
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Runs the commands of a block, and returns the block as it should be.
    fn console(&self, block: &Block) -> String {
        let mut shown = String::new();
        for line in block.text.lines().filter(|line| line.starts_with("$ ")) {
            let output = Command::new("sh")
                .args(["-c", &line[2..]])
                .current_dir(self.work())
                .env_clear()
                .env("PATH", self.path())
                .stdin(Stdio::null())
                .output()
                .unwrap();
            // What a call prints is its result, or why there is none.
            let printed = if output.stdout.is_empty() && !output.status.success() {
                output.stderr
            } else {
                output.stdout
            };
            shown.extend([line, "\n", &String::from_utf8_lossy(&printed)]);
            if !shown.ends_with('\n') {
                shown.push('\n');
            }
        }
        shown.trim_end().to_owned()
    }

    /// Has clients of both eras say what a block shows, and returns what was different.
    fn talk(&self, block: &str) -> Vec<String> {
        let talk = Talk::parse(block);
        let mut failures = Vec::new();
        for era in ERAS {
            if era == Era::Legacy && talk.is_modern_only {
                continue;
            }
            let server = self.serve();
            if let Err(difference) = talk.hold(&server, era) {
                let title = &self.recipe.title;
                let log = server.log().join("\n");
                failures.push(format!("{title}, {era:?}: {difference}\n{log}"));
            }
        }
        failures
    }

    fn serve(&self) -> TestServer {
        let mut definitions = self.recipe.blocks().iter();
        let definitions = definitions.find_map(|block| match &block.shown {
            Shown::File(name) if name == "tools.yaml" => Some(&block.text),
            _ => None,
        });
        let definitions = self.here(definitions.expect("a tools.yaml"));
        TestServer::start_with(&definitions, &[], |prepare| {
            self.lay_out(prepare.folder);
            prepare.command.env("PATH", self.path());
            // A test kills its server, which then leaves what it has there.
            prepare.command.env("TMPDIR", prepare.folder);
            let auth = prepare.folder.join("auth.yaml");
            if auth.exists() {
                prepare.command.arg("--auth").arg(auth);
            }
        })
    }
}

fn write(file: &Path, text: &str, mode: u32) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, format!("{text}\n")).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
}

/// An auth file whose tokens the test knows: that of each subject is [`token_of`] it.
fn with_tokens(text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for at in 1..lines.len() {
        if let Some(subject) = lines[at].trim().strip_prefix("subject: ") {
            let digest = sha256(&token_of(subject));
            lines[at - 1] = format!("  - sha256: {digest}");
        }
    }
    lines.join("\n")
}

/// The token of a subject of a recipe.
pub(crate) fn token_of(subject: &str) -> String {
    format!("{subject}-mfZ3b1mXk0Qy7h2Vn5cR8w")
}

#[test]
fn the_stand_ins_can_be_executed() {
    let programs: Vec<_> = fs::read_dir(STAND_INS).unwrap().flatten().collect();
    assert!(programs.len() > 5, "{programs:?}");
    for program in programs {
        let mode = program.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{}", program.path().display());
    }
}
