//! What a request may know of the connection it came on.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use parking_lot::Mutex;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Where a request came in, and from whom.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    /// The address the client connected to; none on a Unix socket.
    pub local: Option<SocketAddr>,
    /// The address of the client; none on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Whether it is encrypted here, and not by a proxy.
    pub is_encrypted: bool,
    /// The address of the client behind a proxy that is trusted, for one request.
    pub forwarded: Option<IpAddr>,
    /// What becomes of what is written.
    pub link: Arc<Link>,
}

impl Connection {
    /// The address of whoever sends the request; none on a Unix socket.
    pub fn client(&self) -> Option<IpAddr> {
        self.forwarded
            .or_else(|| self.peer.map(|peer| peer.ip().to_canonical()))
    }

    /// The client as far as clients can be told apart by their addresses: of IPv6 it is the first half,
    /// which is what one customer of a network gets.
    pub fn network(&self) -> Option<IpAddr> {
        self.client().map(|client| match client {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
            address @ IpAddr::V4(_) => address,
        })
    }

    /// True if the client is on this machine.
    pub fn is_local(&self) -> bool {
        self.peer
            .is_none_or(|peer| peer.ip().to_canonical().is_loopback())
    }
}

/// Why a connection was cut while something was being written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The client took nothing for as long as a client may.
    Stalled,
    /// The client is gone.
    WriteError,
}

/// What became of something that was to be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The kernel took it, for a client that had not left by then.
    Done,
    /// It was not written, or not for anybody.
    Failed,
}

type OnDelivery = Box<dyn FnOnce(Delivery) + Send>;

/// The state that a connection shares with the requests on it. Whoever owns the socket reports what
/// happens there; requests read it.
#[derive(Default)]
pub struct Link {
    /// 0, or one more than the number of a [`Cut`].
    cut: AtomicU8,
    /// True while `waiting` may hold something, so that a write without it takes no lock.
    is_waiting: AtomicBool,
    waiting: Mutex<Option<OnDelivery>>,
    /// As `is_waiting`, for `held`.
    is_holding: AtomicBool,
    held: Mutex<Vec<TaskTrackerToken>>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("cut", &self.cut())
            .field("is_waiting", &self.is_waiting())
            .finish_non_exhaustive()
    }
}

impl Link {
    /// Why the connection was cut; `None` while it was not, and when the client just left.
    pub fn cut(&self) -> Option<Cut> {
        match self.cut.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Cut::Stalled),
            _ => Some(Cut::WriteError),
        }
    }

    /// Calls back when what is written next has been delivered, or will not be. What was waiting
    /// before counts as delivered: a response comes before the next one, so it has been written.
    /// Without a socket, as in a test of the router, the callback is dropped.
    pub fn on_delivery(&self, callback: impl FnOnce(Delivery) + Send + 'static) {
        let earlier = self.waiting.lock().replace(Box::new(callback));
        self.is_waiting.store(true, Ordering::Release);
        if let Some(earlier) = earlier {
            earlier(Delivery::Done);
        }
    }

    /// Keeps a token until everything that was written so far has left this server, or never will.
    pub fn hold(&self, token: TaskTrackerToken) {
        self.held.lock().push(token);
        self.is_holding.store(true, Ordering::Release);
    }

    /// True while somebody waits for a delivery.
    pub fn is_waiting(&self) -> bool {
        self.is_waiting.load(Ordering::Acquire)
    }

    /// Reports that the connection is cut. The first reason stays.
    pub fn set_cut(&self, cut: Cut) {
        let cut = match cut {
            Cut::Stalled => 1,
            Cut::WriteError => 2,
        };
        // A failure means that there is a reason already.
        let _first = self
            .cut
            .compare_exchange(0, cut, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Reports what became of what was written, if anybody waits for it.
    pub fn settle(&self, delivery: Delivery) {
        if self.is_holding.swap(false, Ordering::AcqRel) {
            self.held.lock().clear();
        }
        if !self.is_waiting.swap(false, Ordering::AcqRel) {
            return;
        }
        let waiting = self.waiting.lock().take();
        if let Some(callback) = waiting {
            callback(delivery);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes what a callback is told.
    fn noting(link: &Link) -> Arc<Mutex<Vec<Delivery>>> {
        let told = Arc::new(Mutex::new(Vec::new()));
        let note = Arc::clone(&told);
        link.on_delivery(move |delivery| note.lock().push(delivery));
        told
    }

    #[test]
    fn a_delivery_is_reported_once() {
        let link = Link::default();
        link.settle(Delivery::Failed);
        let told = noting(&link);
        assert!(link.is_waiting());
        link.settle(Delivery::Done);
        link.settle(Delivery::Failed);
        drop(link);
        assert_eq!(*told.lock(), [Delivery::Done]);
    }

    #[test]
    fn one_delivery_waits_at_a_time() {
        let link = Link::default();
        let first = noting(&link);
        let second = noting(&link);
        assert_eq!(*first.lock(), [Delivery::Done]);
        assert_eq!(*second.lock(), []);
        link.settle(Delivery::Failed);
        assert_eq!(*second.lock(), [Delivery::Failed]);
    }

    #[test]
    fn the_first_reason_of_a_cut_stays() {
        let link = Link::default();
        assert_eq!(link.cut(), None);
        link.set_cut(Cut::Stalled);
        link.set_cut(Cut::WriteError);
        assert_eq!(link.cut(), Some(Cut::Stalled));
    }
}
