//! A script of the definition's own, and the variables that bring it the arguments of a call.

/// The beginning of the names of those variables.
const PREFIX: &str = "INPUT_";

/// A script.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) text: String,
    /// What it gets as variables, in the order of the parameters.
    pub(crate) inputs: Vec<Input>,
}

/// A parameter and the variable that holds its value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Input {
    pub(crate) parameter: String,
    pub(crate) variable: String,
}

impl Script {
    /// Whether the script seems to read a parameter.
    pub(crate) fn mentions(&self, parameter: &str) -> bool {
        let mut inputs = self.inputs.iter();
        let input = inputs.find(|input| input.parameter == parameter);
        input.is_some_and(|input| self.text.contains(&input.variable))
    }
}

impl Input {
    /// The variable of a parameter whose name is one.
    pub(crate) fn of(parameter: &str) -> Self {
        let name = parameter.to_ascii_uppercase().replace('-', "_");
        Self {
            parameter: parameter.to_owned(),
            variable: format!("{PREFIX}{name}"),
        }
    }
}
