//! The list form of a command: every item is one word, a nested list is a group.

use super::{Group, Item, Slot, Template, Word, segments};
use crate::catalog::interpreter;
use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::values::unexpanded::in_word;
use crate::document::yaml::{Content, Entry, Node, Scalar};

/// Reads the list form; what is wrong with it is reported, and the rest is read.
pub(crate) fn words_of_list(nodes: &[Node], report: &mut Report) -> Template {
    let errors = report.errors();
    let items = nodes.iter().filter_map(|node| item(node, report)).collect();
    let is_sound = report.errors() == errors;
    let template = Template::new(items, is_sound);
    if !interpreter::runs_a_shell(&template) {
        let unexpanded = |word: &Word| in_word(word.prefix(), |_| word.span);
        for warning in template.words().filter_map(unexpanded) {
            report.add(warning);
        }
    }
    template
}

fn item(node: &Node, report: &mut Report) -> Option<Item> {
    match &node.content {
        Content::Scalar(_) => word(node, report).map(Item::Word),
        Content::Sequence(nodes) => {
            let words = words(nodes, report);
            group(None, words, node, report)
        }
        Content::Mapping(entries) => conditional(entries, node, report),
    }
}

fn words(nodes: &[Node], report: &mut Report) -> Vec<Word> {
    nodes.iter().filter_map(|node| word(node, report)).collect()
}

fn word(node: &Node, report: &mut Report) -> Option<Word> {
    match &node.content {
        Content::Scalar(scalar) if scalar.text.is_empty() && scalar.is_plain() => {
            let problem = Problem::error(Code::Template, node.span, "the item is empty")
                .help("write \"\" for an empty word");
            report.add(problem);
            None
        }
        Content::Scalar(scalar) => Some(segments(scalar, report)),
        Content::Sequence(_) => {
            let message = "groups do not nest";
            report.add(Problem::error(Code::Template, node.span, message));
            None
        }
        Content::Mapping(entries) => {
            report.add(not_a_word(entries, node));
            None
        }
    }
}

/// Reads `{if: flag, then: [words]}`.
fn conditional(entries: &[Entry], node: &Node, report: &mut Report) -> Option<Item> {
    let (Some(condition), Some(then)) = (node.get("if"), node.get("then")) else {
        report.add(not_a_word(entries, node));
        return None;
    };
    for entry in entries {
        if !matches!(entry.key.text.as_str(), "if" | "then") {
            crate::document::reader::unknown_key(entry, "a group", &["if", "then"], report);
        }
    }
    let name = crate::document::reader::text(condition, report)?;
    let nodes = crate::document::reader::list(then, report)?;
    let flag = Slot {
        name,
        span: condition.place(),
    };
    let words = words(nodes, report);
    group(Some(flag), words, node, report)
}

fn group(flag: Option<Slot>, words: Vec<Word>, node: &Node, report: &mut Report) -> Option<Item> {
    let span = node.span;
    if words.is_empty() {
        report.add(Problem::error(Code::Template, span, "the group is empty"));
        return None;
    }
    Some(Item::Group(Group { flag, words, span }))
}

/// YAML reads `- {count}` as a mapping, which is the slip to expect here.
fn not_a_word(entries: &[Entry], node: &Node) -> Problem {
    let help = match entries {
        [entry] if entry.value.scalar().is_some_and(Scalar::is_null) => {
            format!("quote it: \"{{{}}}\"", entry.key.text)
        }
        _ => "an item is a word, a list of words, or `{if: flag, then: [words]}`".to_owned(),
    };
    let span = entries.first().map_or(node.span, |entry| entry.key.span);
    Problem::error(Code::Template, span, "a mapping is not a word").help(help)
}
