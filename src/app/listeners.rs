//! How many streams of changes each user has.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::session::Bucket;

/// The most streams of `subscriptions/listen` at once of one user.
const MAX_LISTENERS_PER_USER: usize = 16;

/// The most streams of `subscriptions/listen` at once from one address without a credential: many
/// clients may stand behind it.
const MAX_LISTENERS_PER_ADDRESS: usize = 100;

/// How many streams of `subscriptions/listen` each user has.
#[derive(Debug, Default)]
pub struct Listeners(Arc<Mutex<HashMap<Bucket, usize>>>);

impl Listeners {
    /// A place for one more stream, if there is one.
    pub fn enter(&self, bucket: Option<Bucket>) -> Option<Place> {
        if let Some(bucket) = &bucket {
            let most = match bucket {
                Bucket::Principal(_) => MAX_LISTENERS_PER_USER,
                Bucket::Address(_) => MAX_LISTENERS_PER_ADDRESS,
            };
            let mut listeners = self.0.lock();
            let count = listeners.get(bucket).copied().unwrap_or_default();
            if count >= most {
                return None;
            }
            listeners.insert(bucket.clone(), count + 1);
        }
        Some(Place {
            listeners: Arc::clone(&self.0),
            bucket,
        })
    }
}

/// The place of a stream among those of its user. Dropped, it is free again.
#[derive(Debug)]
pub struct Place {
    listeners: Arc<Mutex<HashMap<Bucket, usize>>>,
    bucket: Option<Bucket>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(bucket) = &self.bucket else { return };
        let mut listeners = self.listeners.lock();
        match listeners.get_mut(bucket) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(listeners.remove(bucket)),
        }
    }
}
