//! The standard input of a call. Nothing waits for a program to read it.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::process::ChildStdin;

use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;

/// The most bytes that wait for a program which does not read them: more than a request can bring.
/// One that asks on and on without reading gets no more.
const MAX_WAITING: usize = 64 << 20;

/// What a program is given to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Input {
    /// What is there from the start.
    pub(super) first: Vec<u8>,
    /// More may follow; the end is not seen before the call is over.
    pub(super) is_open: bool,
}

/// The server's end of the pipe.
#[derive(Debug, Default)]
pub(super) struct Stdin {
    /// `None` once nothing can be written any more.
    pipe: Option<pipe::Sender>,
    waiting: VecDeque<u8>,
    is_open: bool,
}

impl Stdin {
    /// Takes the pipe over; without one nothing is ever written.
    pub(super) fn open(pipe: Option<ChildStdin>, input: Input) -> io::Result<Self> {
        let pipe = pipe.map(|pipe| pipe::Sender::from_owned_fd(pipe.into()));
        Ok(Self {
            pipe: pipe.transpose()?,
            waiting: input.first.into(),
            is_open: input.is_open,
        })
    }

    /// Lets bytes wait to be written.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.pipe.is_none() {
            return;
        }
        if self.waiting.len() + bytes.len() > MAX_WAITING {
            self.close();
            return;
        }
        self.waiting.extend(bytes);
    }

    /// True if there is something to do for [`Stdin::write`].
    pub(super) fn is_due(&self) -> bool {
        self.pipe.is_some() && !(self.is_open && self.waiting.is_empty())
    }

    /// Writes a part of what waits, once the pipe has room, and closes the pipe when all is
    /// written. A program need not read what it is given: that is no error.
    ///
    /// # Cancel safety
    ///
    /// What was not written waits on.
    pub(super) async fn write(&mut self) {
        let (bytes, _) = self.waiting.as_slices();
        let written = match &mut self.pipe {
            Some(_) if bytes.is_empty() => Ok(0),
            Some(pipe) => pipe.write(bytes).await,
            None => return pending().await,
        };
        match written {
            Ok(written) => drop(self.waiting.drain(..written)),
            Err(_) => self.close(),
        }
        if self.waiting.is_empty() && !self.is_open {
            self.close();
        }
    }

    fn close(&mut self) {
        self.pipe = None;
        self.waiting = VecDeque::new();
    }
}
