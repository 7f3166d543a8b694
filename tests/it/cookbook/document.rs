//! The recipes as the document has them.

use std::ops::Range;

/// What a section of the document holds.
pub(super) struct Recipe {
    pub(super) title: String,
    blocks: Vec<Block>,
}

/// A fenced block.
pub(super) struct Block {
    pub(super) shown: Shown,
    pub(super) text: String,
    /// Where the text stands in the document: its first line, counted from 1, and its bytes.
    pub(super) line: usize,
    place: Range<usize>,
}

/// What a block shows.
pub(super) enum Shown {
    /// A file of this name.
    File(String),
    /// Commands, and what they print.
    Console,
    /// What a client and the server say to each other.
    Talk,
}

impl Recipe {
    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    pub(super) fn shows_something(&self) -> bool {
        (self.blocks.iter()).any(|block| !matches!(block.shown, Shown::File(_)))
    }
}

/// All sections that define something.
pub(super) fn recipes(text: &str) -> Vec<Recipe> {
    let mut recipes = Vec::new();
    let mut offset = 0;
    for (number, section) in text.split("\n## ").enumerate() {
        // The title stands behind the three bytes at which the sections were split.
        let start = if number == 0 { 0 } else { offset + 4 };
        let blocks = blocks(text, start..start + section.len());
        if !blocks.is_empty() {
            let title = section.lines().next().unwrap_or_default().to_owned();
            recipes.push(Recipe { title, blocks });
        }
        offset = start + section.len();
    }
    recipes
}

fn blocks(text: &str, section: Range<usize>) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut at = section.start;
    while let Some(fence) = text[at..section.end].find("\n```") {
        let info = at + fence + "\n```".len();
        let start = info + text[info..].find('\n').unwrap() + 1;
        // The end of the line before is the start of an empty block's end.
        let end = start - 1 + text[start - 1..].find("\n```").unwrap();
        let place = start..end.max(start);
        let body = text[place.clone()].to_owned();
        blocks.push(Block {
            shown: shown(&text[info..start - 1]),
            line: text[..start].matches('\n').count() + 1,
            text: body,
            place,
        });
        at = end + "\n```".len();
    }
    blocks
}

/// Reads the word behind a fence, and the name of a file behind it.
fn shown(info: &str) -> Shown {
    match info.split_once(' ') {
        Some((_, name)) => Shown::File(name.to_owned()),
        None => match info {
            "yaml" => Shown::File("tools.yaml".to_owned()),
            "console" => Shown::Console,
            "text" => Shown::Talk,
            _ => panic!("a block of {info} must name its file"),
        },
    }
}

/// The document with other texts in these blocks, which are in its order.
pub(super) fn replace(text: &str, blocks: &[(&Block, String)]) -> String {
    let mut replaced = text.to_owned();
    for (block, now) in blocks.iter().rev() {
        replaced.replace_range(block.place.clone(), now);
    }
    replaced
}
