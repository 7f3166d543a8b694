//! Sandboxes: what a tool that has one can reach, and the step that puts it there.
//!
//! Between the server and such a tool stands this program under another name. It makes a session of
//! its own, sets limits, gives up every privilege, lets the kernel refuse files ([`files`], Landlock)
//! and calls ([`calls`], seccomp), and becomes the tool. In the server all of that would need code
//! between `fork` and `exec`, which costs more the more memory the server has.
//!
//! What a definition asks for is enforced or the tool does not run: [`mod@probe`] tries it when
//! definitions are loaded, and the step itself gives up when anything fails.

mod calls;
mod failure;
mod files;
mod limits;
mod policy;
mod probe;
mod step;

pub(crate) use failure::{Failure, Mark};
pub(crate) use policy::{Limits, Net, Policy};
pub(crate) use probe::{Abilities, probe};
pub(crate) use step::{Run, serve};

/// The name of the step: the first word of its command line says what it is.
pub(crate) const PROGRAM: &str = "mcp-serve-sandbox";
