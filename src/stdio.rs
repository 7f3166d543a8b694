//! MCP over standard input and output, for the client that started the server: a message a line.
//!
//! What HTTP keeps apart shares two streams here. One task reads lines and plans what they ask for;
//! calls run in tasks of their own and speak into one outbox, which is written as fast as the client
//! reads. A client that does not read is not read from either, so that nothing piles up.

mod client;
mod lines;
mod listening;
mod running;

use std::fs::File;
use std::io;
use std::pin::pin;
use std::sync::Arc;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::stdio::{dup2_stdin, dup2_stdout, stderr, stdin, stdout};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::stream::{Next, Outbox, Reader};
use client::Client;

/// Bytes that may wait for the client before nothing more is read from it. Calls that run go on.
const MAX_WAITING: usize = 4 * 1024 * 1024;

/// Descriptors from here on are none of the standard ones.
const FIRST_OTHER: i32 = 3;

/// The client's ends of standard input and output.
#[derive(Debug)]
pub(crate) struct Streams {
    input: File,
    output: File,
}

impl Streams {
    /// Takes the standard streams away from everybody else: whatever reads standard input after this
    /// finds its end, and whatever writes to standard output is on standard error. No process that a
    /// call starts inherits them.
    pub(crate) fn take() -> io::Result<Self> {
        let input = fcntl_dupfd_cloexec(stdin(), FIRST_OTHER)?;
        let output = fcntl_dupfd_cloexec(stdout(), FIRST_OTHER)?;
        dup2_stdin(File::open("/dev/null")?)?;
        dup2_stdout(stderr())?;
        Ok(Self {
            input: input.into(),
            output: output.into(),
        })
    }
}

/// Serves the client until it leaves or the server stops, and every reply is written. Cancels `left`
/// when the client leaves.
pub(crate) async fn serve(app: Arc<App>, streams: Streams, left: CancellationToken) {
    let _unanswered = app.unanswered.token();
    let outbox = Outbox::endless(app.options.stream_buffer, Arc::clone(&app.metrics));
    let reader = outbox.read();
    let draining = app.draining.clone();
    let mut client = Client::new(app, Arc::clone(&outbox));
    let work = client.work();
    let finished = async {
        draining.cancelled().await;
        work.close();
        work.wait().await;
    };
    let reading = async {
        let mut finished = pin!(finished);
        let input = tokio::fs::File::from_std(streams.input);
        tokio::select! {
            read = client.read(input) => {
                if let Err(error) = read {
                    tracing::warn!(%error, "standard input cannot be read");
                }
                client.hang_up();
                left.cancel();
                finished.await;
            }
            () = &mut finished => {}
        }
        outbox.close();
    };
    let writing = async {
        let output = tokio::fs::File::from_std(streams.output);
        if let Err(error) = write(reader, output).await {
            tracing::warn!(%error, "standard output cannot be written");
            left.cancel();
        }
    };
    tokio::join!(reading, writing);
}

/// Writes message after message, each on a line of its own. JSON on one line has no line breaks.
async fn write(mut reader: Reader, mut output: impl AsyncWrite + Unpin) -> io::Result<()> {
    while let Next::Event(event) = reader.next().await {
        let mut line = Vec::with_capacity(event.data.len() + 1);
        line.extend_from_slice(&event.data);
        line.push(b'\n');
        output.write_all(&line).await?;
        output.flush().await?;
    }
    Ok(())
}
