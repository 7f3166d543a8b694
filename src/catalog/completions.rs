//! What may be proposed for the arguments of a prompt or template.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::argument_error::ArgumentError;
use super::params::Parameters;
use super::tool::{Arguments, Tool};
use crate::auth::Caller;

/// The parameter that a program finds the typed text in.
pub(crate) const TYPED: &str = "value";

/// The candidates of each argument.
#[derive(Debug, Default)]
pub struct Completions(HashMap<String, Candidates>);

/// Where the candidates of an argument come from.
#[derive(Debug)]
pub enum Candidates {
    /// Nobody knows any.
    None,
    /// These, as far as they begin with what was typed.
    Listed(Vec<String>),
    /// A program prints them, one on each line.
    Printed(CandidateProgram),
}

/// A program that knows candidates.
#[derive(Debug)]
pub struct CandidateProgram {
    /// What runs. It is in no list.
    pub tool: Arc<Tool>,
    /// The program does not look at what was typed, so that somebody else has to.
    pub ignores_typed: bool,
}

impl Completions {
    /// `given` is what the definition says; for other arguments it is what their schema lists.
    pub(crate) fn new(parameters: &Parameters, mut given: HashMap<String, Candidates>) -> Self {
        let candidates = parameters.iter().map(|parameter| {
            let given = given.remove(&parameter.name);
            let candidates = given.unwrap_or_else(|| listed(&parameter.schema));
            (parameter.name.clone(), candidates)
        });
        Self(candidates.collect())
    }

    /// Returns the candidates of an argument; `None` if there is no such argument.
    pub fn of(&self, argument: &str) -> Option<&Candidates> {
        self.0.get(argument)
    }

    /// Returns what runs for candidates.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &Arc<Tool>> {
        self.0.values().filter_map(|candidates| match candidates {
            Candidates::Printed(program) => Some(&program.tool),
            Candidates::None | Candidates::Listed(_) => None,
        })
    }

    /// Returns whether any argument has candidates.
    pub fn has_any(&self) -> bool {
        let mut all = self.0.values();
        all.any(|candidates| !matches!(candidates, Candidates::None))
    }
}

fn listed(schema: &Value) -> Candidates {
    let Some(values) = schema.get("enum").and_then(Value::as_array) else {
        return Candidates::None;
    };
    let texts = values.iter().filter_map(Value::as_str);
    Candidates::Listed(texts.map(str::to_owned).collect())
}

impl CandidateProgram {
    /// Checks what was typed, and what was chosen for the other arguments. Arguments that do not
    /// exist are left out.
    ///
    /// # Errors
    ///
    /// As [`Tool::arguments`].
    pub fn arguments(
        &self,
        typed: &str,
        chosen: Option<&Map<String, Value>>,
        caller: &Caller,
    ) -> Result<Arguments, ArgumentError> {
        let parameters = &self.tool.parts.parameters;
        let known = chosen.into_iter().flatten();
        let mut arguments: Map<String, Value> = known
            .filter(|(name, _)| parameters.arguments().any(|known| known.name == **name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        arguments.insert(TYPED.to_owned(), Value::from(typed));
        self.tool.arguments(Some(arguments), caller)
    }
}
