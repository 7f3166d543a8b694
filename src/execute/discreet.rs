//! A listener that hears no secrets.

use std::sync::Arc;

use super::{Listener, Outcome, Said};
use crate::protocol::texts::Texts;
use crate::redact::Redactor;

/// Takes the secrets out of all that a call says, before anybody hears it.
pub(super) fn listener(listener: Box<dyn Listener>, secrets: &Arc<Redactor>) -> Box<dyn Listener> {
    if secrets.is_empty() {
        return listener;
    }
    Box::new(Discreet {
        secrets: Arc::clone(secrets),
        listener,
    })
}

struct Discreet {
    secrets: Arc<Redactor>,
    listener: Box<dyn Listener>,
}

impl Listener for Discreet {
    fn begins(&mut self) {
        self.listener.begins();
    }

    fn said(&mut self, mut said: Said) {
        said.each_text(&mut |text| self.secrets.clean(text));
        self.listener.said(said);
    }

    fn done(self: Box<Self>, mut outcome: Outcome) {
        outcome.each_text(&mut |text| self.secrets.clean(text));
        self.listener.done(outcome);
    }
}

impl Texts for Said {
    fn each_text(&mut self, change: &mut dyn FnMut(&mut String)) {
        match self {
            Self::Progress(progress) | Self::Alive(progress) => progress.each_text(change),
            Self::Log(log) => log.each_text(change),
            Self::ListChanged(_) | Self::CloseStream => {}
        }
    }
}

impl Texts for Outcome {
    fn each_text(&mut self, change: &mut dyn FnMut(&mut String)) {
        match self {
            Self::Result { result, .. } => result.each_text(change),
            Self::InputRequired(required) => required.each_text(change),
            Self::Error(error) => error.each_text(change),
            Self::Messages(messages) => messages.each_text(change),
            Self::Bytes(bytes) => {
                // What is no text may be a picture, which three stars would break.
                if let Ok(text) = std::str::from_utf8(bytes) {
                    let mut text = text.to_owned();
                    change(&mut text);
                    *bytes = text.into_bytes();
                }
            }
            // What is refused is told in words of the server's own.
            Self::MissingCapabilities(_) | Self::Refused(_) | Self::Stopped(_) | Self::Lost => {}
        }
    }
}
