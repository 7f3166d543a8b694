//! A YAML file that people write: read with places, and all that is wrong with it said at once.
//!
//! What tools.yaml and the auth file share. `yaml` makes a tree that knows where everything
//! stands, `reader` takes single values out of it, `report` collects the problems,
//! `diagnostic` draws them in the texts that `source` holds, `suggest` finds the word that was meant,
//! `values` puts in what a file names and does not hold. What a key means is for the modules that own
//! the files to say.

pub(crate) mod diagnostic;
pub(crate) mod reader;
pub(crate) mod report;
pub(crate) mod source;
pub(crate) mod suggest;
pub(crate) mod values;
pub(crate) mod yaml;

pub use diagnostic::{Code, Diagnostic, LoadError, Place, Severity};
