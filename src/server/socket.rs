//! An accepted socket that notices when its client is gone, or takes nothing any more.
//!
//! A connection can die without a word, and a client can stop reading. Neither may hold memory,
//! calls or a session for long:
//!
//! - TCP keep-alive and `TCP_USER_TIMEOUT` have the kernel end a connection whose other end does not
//!   answer any more, whether or not there is something to send.
//! - A write that cannot go on for the same time fails. That holds for Unix sockets too, and for a
//!   client that answers, but does not read. A client that takes at least 32 KiB in that time goes on;
//!   on a Unix socket three quarters of its buffer.
//! - Before an answer that must not get lost is written, the kernel is asked whether the client has
//!   left already, since the kernel would take the bytes all the same.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::sockopt;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::http::{Cut, Delivery, Link};

/// How much the kernel holds that it could not send yet, in bytes. A socket can be written again
/// when half of this has gone out, so this is also how it shows that a slow client reads. Without
/// it, that takes a third of a buffer of megabytes.
const MAX_UNSENT: u32 = 64 * 1024;

/// The longest time between keep-alive probes that Linux takes.
const MAX_PROBE_INTERVAL: Duration = Duration::from_secs(32_767);

/// Sets the options of an accepted socket, and returns the address the client connected to.
///
/// Probes begin after half of `user_timeout` of silence, and go on until it is over; then the kernel
/// ends the connection. In whole seconds, as the kernel has it.
pub(super) fn prepare(stream: &TcpStream, user_timeout: Duration) -> io::Result<SocketAddr> {
    // Without this a streamed reply waits for a delayed acknowledgement.
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_notsent_lowat(MAX_UNSENT)?;
    let most = i32::MAX.unsigned_abs();
    let millis = u32::try_from(user_timeout.as_millis()).map_or(most, |millis| millis.min(most));
    sockopt::set_tcp_user_timeout(stream, millis.max(1))?;
    let probes = |part| {
        let interval: Duration = user_timeout / part;
        interval.clamp(Duration::from_secs(1), MAX_PROBE_INTERVAL)
    };
    sockopt::set_tcp_keepidle(stream, probes(2))?;
    sockopt::set_tcp_keepintvl(stream, probes(6))?;
    sockopt::set_socket_keepalive(stream, true)?;
    stream.local_addr()
}

/// A socket whose writes do not wait for ever, and which tells its [`Link`] what happens.
#[derive(Debug)]
pub(super) struct Socket<S> {
    stream: S,
    link: Arc<Link>,
    write_timeout: Duration,
    /// Set while a write is pending.
    stalled: Option<Pin<Box<Sleep>>>,
    /// True while bytes are written that somebody waits for.
    is_delivering: bool,
}

impl<S> Socket<S> {
    pub(super) fn new(stream: S, link: Arc<Link>, write_timeout: Duration) -> Self {
        Self {
            stream,
            link,
            write_timeout,
            stalled: None,
            is_delivering: false,
        }
    }

    fn fail(&mut self, cut: Cut) {
        self.stalled = None;
        self.link.set_cut(cut);
        self.link.settle(Delivery::Failed);
    }
}

impl<S: AsFd + Unpin> Socket<S> {
    /// Writes by `write`, which is a call on the stream.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if !self.is_delivering && self.link.is_waiting() {
            if has_left(&self.stream) {
                self.fail(Cut::WriteError);
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            self.is_delivering = true;
        }
        match write(Pin::new(&mut self.stream), cx) {
            Poll::Ready(Ok(written)) => {
                self.stalled = None;
                Poll::Ready(Ok(written))
            }
            Poll::Ready(Err(error)) => {
                self.fail(cut_by(&error));
                Poll::Ready(Err(error))
            }
            Poll::Pending => {
                let timeout = self.write_timeout;
                let stalled = self
                    .stalled
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
                ready!(stalled.as_mut().poll(cx));
                self.fail(Cut::Stalled);
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

/// The kernel gives up on a silent client with "timed out".
fn cut_by(error: &io::Error) -> Cut {
    if error.kind() == io::ErrorKind::TimedOut {
        Cut::Stalled
    } else {
        Cut::WriteError
    }
}

/// True if the other end is known to have closed the connection, or its sending half: a client that
/// will send nothing more has no use for a session.
fn has_left(socket: impl AsFd) -> bool {
    let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
    let mut polled = [PollFd::new(&socket, gone)];
    let at_once = Timespec::default();
    // What cannot be asked will show when it is written to.
    rustix::event::poll(&mut polled, Some(&at_once)).is_ok()
        && polled.iter().any(|one| one.revents().intersects(gone))
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        if let Err(error) = &read
            && cut_by(error) == Cut::Stalled
        {
            self.link.set_cut(Cut::Stalled);
        }
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + AsFd + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut()
            .write(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut()
            .write(cx, |stream, cx| stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when everything it holds has been written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.is_delivering = false;
        self.link.settle(Delivery::Done);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S> Drop for Socket<S> {
    fn drop(&mut self) {
        self.link.settle(Delivery::Failed);
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn pair() -> (Socket<UnixStream>, UnixStream, Arc<Link>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let link = Arc::new(Link::default());
        (Socket::new(ours, Arc::clone(&link), TIMEOUT), theirs, link)
    }

    /// Notes what a callback is told.
    fn noting(link: &Link) -> Arc<Mutex<Vec<Delivery>>> {
        let told = Arc::new(Mutex::new(Vec::new()));
        let note = Arc::clone(&told);
        link.on_delivery(move |delivery| note.lock().push(delivery));
        told
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_moves_nothing_fails_in_time() {
        let (mut socket, _theirs, link) = pair();
        let started = tokio::time::Instant::now();
        let big = vec![0; 100 << 20];
        let error = socket.write_all(&big).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() >= TIMEOUT, "{:?}", started.elapsed());
        assert!(started.elapsed() < TIMEOUT * 2, "{:?}", started.elapsed());
        assert_eq!(link.cut(), Some(Cut::Stalled));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_not_cut() {
        let (mut socket, mut theirs, link) = pair();
        let write = async {
            socket.write_all(&vec![0; 4 << 20]).await.unwrap();
            socket.shutdown().await.unwrap();
        };
        let read = async {
            let mut buffer = vec![0; 256 << 10];
            loop {
                tokio::time::sleep(TIMEOUT * 9 / 10).await;
                let mut taken = 0;
                while taken < buffer.len() {
                    let read = theirs.read(&mut buffer[taken..]).await.unwrap();
                    if read == 0 {
                        return;
                    }
                    taken += read;
                }
            }
        };
        tokio::join!(write, read);
        assert_eq!(link.cut(), None);
        assert!(socket.stalled.is_none(), "no timer without a pending write");
    }

    #[tokio::test]
    async fn an_answer_is_delivered_to_a_client_that_is_there() {
        let (mut socket, _theirs, link) = pair();
        let told = noting(&link);
        socket.write_all(b"x").await.unwrap();
        assert_eq!(*told.lock(), []);
        socket.flush().await.unwrap();
        assert_eq!(*told.lock(), [Delivery::Done]);
        drop(socket);
        assert_eq!(*told.lock(), [Delivery::Done]);
        assert_eq!(link.cut(), None);
    }

    #[tokio::test]
    async fn an_answer_is_not_delivered_to_a_client_that_left() {
        let (mut socket, theirs, link) = pair();
        let told = noting(&link);
        drop(theirs);
        socket.write_all(b"x").await.unwrap_err();
        assert_eq!(*told.lock(), [Delivery::Failed]);
        assert_eq!(link.cut(), Some(Cut::WriteError));

        let (mut socket, mut theirs, link) = pair();
        let told = noting(&link);
        theirs.shutdown().await.unwrap();
        socket.write_all(b"x").await.unwrap_err();
        assert_eq!(*told.lock(), [Delivery::Failed], "closed by half");

        let (socket, _theirs, link) = pair();
        let told = noting(&link);
        drop(socket);
        assert_eq!(*told.lock(), [Delivery::Failed], "never written");
        assert_eq!(link.cut(), None);
    }

    #[tokio::test]
    async fn nobody_who_waits_is_no_reason_to_ask() {
        let (mut socket, mut theirs, link) = pair();
        theirs.shutdown().await.unwrap();
        socket.write_all(b"x").await.unwrap();
        socket.flush().await.unwrap();
        assert_eq!(theirs.read_u8().await.unwrap(), b'x');
        assert_eq!(link.cut(), None);
    }

    #[tokio::test]
    async fn the_kernel_watches_a_tcp_connection() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cases = [
            (Duration::from_millis(1), 1, 1, 1),
            (Duration::from_secs(30), 30_000, 15, 5),
            (Duration::from_secs(45), 45_000, 23, 8),
            (Duration::from_secs(u64::MAX), 2_147_483_647, 32_767, 32_767),
        ];
        for (timeout, millis, idle, interval) in cases {
            let _client = TcpStream::connect(address).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            assert_eq!(prepare(&stream, timeout).unwrap(), address);
            assert!(sockopt::socket_keepalive(&stream).unwrap());
            assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), millis);
            let idle = Duration::from_secs(idle);
            assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), idle);
            let interval = Duration::from_secs(interval);
            assert_eq!(sockopt::tcp_keepintvl(&stream).unwrap(), interval);
        }
    }
}
