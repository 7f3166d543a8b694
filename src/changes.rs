//! What has changed, for the clients that want to know.

use tokio::sync::broadcast;

/// How many changes wait for a slow listener; one that falls further behind is told so.
const WAITING: usize = 256;

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// The list of tools.
    Tools,
    /// The list of prompts.
    Prompts,
    /// The list of resources, or of their templates.
    Resources,
    /// What the resource of this URI holds.
    Resource(String),
}

/// Where changes are announced, and heard of.
#[derive(Debug)]
pub struct Changes(broadcast::Sender<Change>);

impl Default for Changes {
    fn default() -> Self {
        Self(broadcast::Sender::new(WAITING))
    }
}

impl Changes {
    /// Tells everybody who listens now.
    pub fn announce(&self, change: Change) {
        // Nobody listens.
        self.0.send(change).ok();
    }

    /// Hears of every change from now on.
    pub fn listen(&self) -> broadcast::Receiver<Change> {
        self.0.subscribe()
    }
}
