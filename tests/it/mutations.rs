//! Definition files as accidents and bad tools leave them: whatever stands in one, loading it ends soon,
//! with a verdict, and `check` and serving come to the same one.
//!
//! The files are made from the valid ones by a generator with a fixed seed, so that a failure can be
//! looked at again: it names the number of its file.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mcp_serve::catalog::{Catalog, Environment};
use mcp_serve::document::{Diagnostic, LoadError};

use crate::cookbook::STAND_INS;
use crate::support::{Run, command, run};

/// How many files are loaded, and shown to the program itself.
const FILES: u64 = 500;
/// How many of them are shown to it at the same time.
const AT_ONCE: u64 = 4;
/// How long one file may take, on a slow and busy machine and without optimizations.
const MOST: Duration = Duration::from_secs(10);

/// What stands in the place of a value, or of a whole line.
const HOSTILE: &[&str] = &[
    "",
    "~",
    "true",
    "-1",
    "18446744073709551616",
    "1e999",
    "0x7fffffffffffffff",
    ".nan",
    "99999999999999999999999d",
    "1152921504606846976GiB",
    "\"\\0\"",
    "\"\\uD800\"",
    "'",
    "\"",
    "|",
    "- - - -",
    "[]",
    "{}",
    "[[[[[[[[[[[[[[[[[[[[[[[[",
    "{a: {a: {a: {a: {a: {a: 1}}}}}}",
    "&a [*a, *a]",
    "*nobody",
    "!!binary aGk=",
    "{<<: {a: 1}}",
    "---",
    "...",
    "%YAML 9.9",
    "? x",
    "\t",
    "{x}",
    "{x...}",
    "[{x}",
    "{{",
    "$(id)",
    "sh -c {x}",
    "${env:PATH}",
    "${env:NOBODY_SET_THIS:-}",
    "${file:/dev/zero}",
    "${file:/proc/self/mem}",
    "${secret:x}",
    "${env:",
    "../../../../etc/passwd",
    "\u{feff}",
    "\u{202e}txet",
    "e\u{301}\u{1f469}\u{200d}\u{1f680}",
    "(?<done>(a+)+)$",
    "(?=a)",
    "[.items[] | recurse]",
    "{type: string, pattern: '('}",
    "{$ref: 'https://example.com/x'}",
    "{type: array, items: {$ref: '#'}}",
    "{from: claims.sub}",
    "{type: path, root: /}",
    "include: [tools.yaml]",
    "include: ['*']",
    "include: [/dev/zero]",
    "version: 2",
    "tools: {}",
    "secrets: {a: '${secret:a}'}",
];

/// `SplitMix64`: small, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

/// The valid files: the corpus, the examples, what the documents show.
fn corpus() -> Vec<String> {
    let mut texts = Vec::new();
    for folder in ["tests/it/tools/valid", "tests/it/showcase", "examples"] {
        let mut files: Vec<PathBuf> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
            .collect();
        files.sort();
        texts.extend(files.iter().map(|file| fs::read_to_string(file).unwrap()));
    }
    for document in ["docs/cookbook.md", "docs/tools-yaml.md"] {
        let document = fs::read_to_string(document).unwrap();
        let blocks = document.split("```yaml\n").skip(1);
        texts.extend(blocks.map(|block| block.split("```").next().unwrap().to_owned()));
    }
    assert!(texts.len() > 60, "{} files", texts.len());
    texts
}

/// The file of this number.
fn mutated(number: u64, corpus: &[String]) -> String {
    let mut random = Random(number);
    let mut lines = lines(&corpus[random.below(corpus.len())]);
    for _ in 0..=random.below(3) {
        mutate(&mut lines, corpus, &mut random);
    }
    lines.join("\n") + "\n"
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

fn mutate(lines: &mut Vec<String>, corpus: &[String], random: &mut Random) {
    if lines.is_empty() {
        lines.push(random.pick(HOSTILE).to_owned());
    }
    let (at, other) = (random.below(lines.len()), random.below(lines.len()));
    match random.below(10) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(other, lines[at].clone()),
        2 => lines.swap(at, other),
        3 => {
            let spaces = " ".repeat(random.below(9));
            lines[at] = format!("{spaces}{}", lines[at].trim_start());
        }
        4 | 5 => lines[at] = with_another_character(&lines[at], random),
        6 | 7 => lines[at] = with_another_value(&lines[at], random),
        8 => lines.insert(at, random.pick(HOSTILE).to_owned()),
        _ => {
            let second = self::lines(&corpus[random.below(corpus.len())]);
            let from = random.below(second.len());
            lines.truncate(at);
            lines.extend(second.into_iter().skip(from));
        }
    }
}

fn with_another_character(line: &str, random: &mut Random) -> String {
    let mut characters: Vec<char> = line.chars().collect();
    let strange = [
        '{', '}', '[', ']', ':', '"', '\'', '#', '&', '*', '\t', '\u{a0}', '\u{7f}', '0', 'ß',
    ];
    if !characters.is_empty() {
        let at = random.below(characters.len());
        characters[at] = strange[random.below(strange.len())];
    }
    characters.into_iter().collect()
}

fn with_another_value(line: &str, random: &mut Random) -> String {
    let value = random.pick(HOSTILE);
    match line.split_once(": ") {
        Some((key, _)) => format!("{key}: {value}"),
        None => format!("{line} {value}"),
    }
}

/// A folder for one file at a time, with nothing beside it.
fn place(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    folder.join("tools.yaml")
}

/// The stand-ins of the cookbook, and what every machine has.
fn path() -> String {
    let stand_ins = fs::canonicalize(STAND_INS).unwrap();
    format!("{}:/usr/bin:/bin", stand_ins.display())
}

fn environment() -> Environment {
    [("PATH", path())].into_iter().collect()
}

/// Runs the program on a file, with a standard input that is at its end.
fn run_on(file: &Path, mode: &str) -> Run {
    run(command()
        .env("PATH", path())
        .arg(mode)
        .arg("--tools")
        .arg(file))
}

/// Whether a file is accepted; `check` and serving have to agree. A server whose one client has gone
/// already ends at once, if it starts.
fn verdict(number: u64, corpus: &[String], file: &Path) -> bool {
    let text = mutated(number, corpus);
    fs::write(file, &text).unwrap();
    let (checked, served) = thread::scope(|scope| {
        let checked = scope.spawn(|| run_on(file, "check"));
        let served = run_on(file, "--stdio");
        (checked.join().unwrap(), served)
    });
    assert_eq!(
        checked.code, served.code,
        "file {number}:\n{text}\n{}\n{}",
        checked.stderr, served.stderr
    );
    match checked.code {
        Some(0) => true,
        Some(2) => false,
        other => panic!("file {number} ends with {other:?}:\n{text}"),
    }
}

/// Checks that a problem says something, about a place that exists.
fn check_problem(problem: &Diagnostic, file: &Path, text: &str) {
    assert!(!problem.message().trim().is_empty());
    assert_eq!(Path::new(problem.path()), file, "{problem:?}");
    let Some((line, column)) = problem.position() else {
        return;
    };
    // A problem at the end of the file is behind its last line.
    let text = text.trim_start_matches('\u{feff}');
    let mut lines = text.split('\n');
    let of_line = lines.nth(line - 1).expect("a line of the file");
    assert!(
        (1..=of_line.chars().count() + 1).contains(&column),
        "column {column} of {of_line:?}: {}",
        problem.message()
    );
    assert!(!problem.render(false).is_empty());
}

fn check_refusal(error: &LoadError, file: &Path, text: &str) {
    assert!(!error.diagnostics().is_empty());
    for problem in error.diagnostics() {
        check_problem(problem, file, text);
    }
    assert!(error.to_string().contains("error"), "{error}");
}

#[test]
fn a_broken_file_is_refused_with_its_places_and_never_more() {
    let corpus = corpus();
    let file = place("mutations");
    let (mut accepted, mut refused) = (0, 0);
    for number in 0..FILES {
        let text = mutated(number, &corpus);
        fs::write(&file, &text).unwrap();
        let started = Instant::now();
        let loaded = catch_unwind(AssertUnwindSafe(|| {
            let loaded = Catalog::load(&file, &environment());
            match &loaded {
                Ok(loaded) => (loaded.warnings.iter())
                    .for_each(|warning| check_problem(warning, &file, &text)),
                Err(error) => check_refusal(error, &file, &text),
            }
            loaded.is_ok()
        }));
        let took = started.elapsed();
        let Ok(is_valid) = loaded else {
            panic!("file {number}:\n{text}");
        };
        accepted += usize::from(is_valid);
        refused += usize::from(!is_valid);
        assert!(took < MOST, "file {number} takes {took:?}:\n{text}");
    }
    // Else the files would say little.
    assert!(accepted > 10 && refused > 100, "{accepted}, {refused}");
}

#[test]
fn checking_and_serving_come_to_the_same_verdict() {
    let corpus = corpus();
    let next = AtomicU64::new(0);
    let judge = |at: u64| {
        let file = place(&format!("verdicts{at}"));
        let mut accepted = 0;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= FILES {
                return accepted;
            }
            accepted += u64::from(verdict(number, &corpus, &file));
        }
    };
    let accepted: u64 = thread::scope(|scope| {
        let judge = &judge;
        let judges: Vec<_> = (0..AT_ONCE)
            .map(|at| scope.spawn(move || judge(at)))
            .collect();
        judges.into_iter().map(|judge| judge.join().unwrap()).sum()
    });
    assert!((1..FILES).contains(&accepted), "{accepted}");
}
