//! Rendering the parts of a request, which can be left out one by one.

use serde_json::Value;

use super::{Renderer, text_of};
use crate::catalog::argument_error::Violation;
use crate::catalog::params::Kind;
use crate::catalog::template::{Slot, Word};

impl Renderer<'_> {
    /// The text of a word; `None` if a parameter in it is absent.
    pub(crate) fn optional_text(&mut self, word: &Word) -> Option<String> {
        let is_complete = word.slots().all(|slot| self.is_present(slot));
        is_complete.then(|| self.text(word))
    }

    /// The text of one value.
    pub(crate) fn value_text(&mut self, slot: &Slot) -> String {
        let text = self.slot(slot);
        self.check_size(slot, None, &text);
        text
    }

    /// The value as it came, with its own type; `None` if it is absent.
    pub(crate) fn whole(&self, slot: &Slot) -> Option<Value> {
        self.value(slot).cloned()
    }

    /// The texts of the items of an array; an absent array has none.
    pub(crate) fn items(&mut self, slot: &Slot) -> Vec<String> {
        let items = match self.value(slot) {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(_) => {
                self.violate(&slot.name, None, "must be an array");
                return Vec::new();
            }
        };
        let kind = self.parameters.get(&slot.name).map(|p| p.kind.item());
        let mut texts = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match text_of(item, kind.unwrap_or(Kind::Unknown)) {
                Ok(text) => {
                    self.check_size(slot, Some(index), &text);
                    texts.push(text);
                }
                Err(rule) => self.violate(&slot.name, Some(index), rule),
            }
        }
        texts
    }

    /// Says that a value breaks a rule.
    pub(crate) fn refuse_slot(&mut self, slot: &Slot, rule: &str) {
        self.violate(&slot.name, None, rule);
    }

    /// Says that the values break a rule together.
    pub(crate) fn refuse_all(&mut self, rule: &str) {
        if self.violations.is_empty() {
            self.violations.push(Violation::of_all(rule));
        }
    }
}
