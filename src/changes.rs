//! What has changed, for the clients that want to know.
//!
//! Nothing queues up here. Announcements have numbers, and of each list it is known which was the last
//! one by whom. A [`Listener`] compares that with what it has told; of the resources that it is
//! subscribed to it remembers which have changed. So a listener that is slow misses nothing and holds no more than one change of each
//! kind, and what changes a million times is told as often as anybody can use it.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// The least time between two looks of a listener for what is new.
pub const PACE: Duration = Duration::from_millis(100);

/// The most resources that one listener is subscribed to.
pub const MAX_SUBSCRIPTIONS: usize = 1000;

/// The most bytes of their URIs, which a client makes up where there are templates.
pub const MAX_SUBSCRIBED_BYTES: usize = 128 << 10;

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
    Resource(Arc<str>),
}

/// Where changes are announced, and heard of.
#[derive(Debug, Clone, Default)]
pub struct Changes(Arc<Hub>);

#[derive(Debug, Default)]
struct Hub {
    said: Mutex<Said>,
    /// How often what is served became something else as a whole.
    replaced: AtomicU64,
    announced: Notify,
    subscribers: Mutex<Subscribers>,
    last_listener: AtomicU64,
    source: OnceLock<Box<dyn Source>>,
}

/// Something for each of the lists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lists<T> {
    /// That of the tools.
    pub tools: T,
    /// That of the prompts.
    pub prompts: T,
    /// That of the resources and their templates.
    pub resources: T,
}

/// What was said of the lists.
#[derive(Debug, Default)]
struct Said {
    /// The number of the last announcement.
    last: u64,
    lists: Lists<OfList>,
}

/// The numbers of the last announcements of one list.
#[derive(Debug, Default)]
struct OfList {
    to_all: u64,
    by_tool: HashMap<Box<str>, u64>,
}

impl OfList {
    fn note(&mut self, by: Option<&str>, number: u64) {
        match by.map(|tool| (tool, self.by_tool.get_mut(tool))) {
            None => self.to_all = number,
            Some((_, Some(last))) => *last = number,
            Some((tool, None)) => {
                self.by_tool.insert(tool.into(), number);
            }
        }
    }

    /// Whether there is an announcement after this one that concerns whoever looks.
    fn is_news(&self, told: u64, view: &dyn View) -> bool {
        let mut by_tool = self.by_tool.iter();
        self.to_all > told || by_tool.any(|(tool, number)| *number > told && view.sees(tool))
    }
}

/// From when on somebody hears of changes, and what the lists were then.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mark {
    /// The number of the last announcement that is known.
    told: u64,
    /// How often what is served had been replaced.
    replaced: u64,
    /// The lists, as they were seen.
    seen: Lists<u64>,
}

/// Who is subscribed to a resource, by the number of the listener.
#[derive(Debug, Default)]
struct Subscribers {
    of: HashMap<Arc<str>, HashMap<u64, Arc<News>>>,
    subscriptions: usize,
}

/// How a listener sees what is served, which may become something else as a whole.
pub trait View: fmt::Debug + Send + Sync {
    /// What tells each list, as it is seen, from what it was.
    fn lists(&self) -> Lists<u64>;
    /// Whether there is a resource of this URI. Does not block.
    fn has(&self, uri: &str) -> bool;
    /// Whether the tool of this identity is there. Neither blocks nor calls back.
    fn sees(&self, tool: &str) -> bool;
}

/// Finds out when resources change, and announces it.
pub trait Source: fmt::Debug + Send + Sync {
    /// Somebody wants to know from now on. Neither blocks nor calls back.
    fn watch(&self, uri: &str);
    /// Nobody wants to know any more. Neither blocks nor calls back.
    fn unwatch(&self, uri: &str);
    /// Waits, for a moment at most, until no change is missed of what is watched by now.
    fn settled(&self) -> BoxFuture<'static, ()>;
}

impl Changes {
    /// Has a source watch the resources that somebody is subscribed to. Only the first one is taken.
    pub fn watch_with(&self, source: Box<dyn Source>) {
        drop(self.0.source.set(source));
    }

    /// Tells everybody who listens.
    pub fn announce(&self, change: Change) {
        self.say(change, None);
    }

    /// Tells of a change of a list those who see the tool that says so: nothing that others see can
    /// have changed by it.
    pub fn announce_by(&self, tool: &str, change: Change) {
        self.say(change, Some(tool));
    }

    fn say(&self, change: Change, by: Option<&str>) {
        {
            let mut said = self.0.said.lock();
            let Said { last, lists } = &mut *said;
            let list = match change {
                Change::Tools => &mut lists.tools,
                Change::Prompts => &mut lists.prompts,
                Change::Resources => &mut lists.resources,
                Change::Resource(uri) => {
                    drop(said);
                    return self.updated(&uri);
                }
            };
            *last += 1;
            list.note(by, *last);
        }
        self.0.announced.notify_waiters();
    }

    fn updated(&self, uri: &Arc<str>) {
        let interested: Vec<_> = match self.0.subscribers.lock().of.get(uri) {
            Some(listeners) => listeners.values().map(Arc::clone).collect(),
            None => return,
        };
        for news in interested {
            news.note(uri);
        }
    }

    /// Waits until no change is missed of what somebody is subscribed to by now; for a moment at most,
    /// since a file can be where nothing answers.
    pub async fn settled(&self) {
        if let Some(source) = self.0.source.get() {
            source.settled().await;
        }
    }

    /// Has everybody who listens look whether a list of its own is another one now.
    pub fn replaced(&self) {
        self.0.replaced.fetch_add(1, Ordering::Relaxed);
        self.0.announced.notify_waiters();
    }

    /// Marks this moment, for who listens later and wants to know what changes from now on.
    pub fn mark(&self, view: &impl View) -> Mark {
        // On its own line: the lock is not held while the lists are digested.
        let told = self.0.said.lock().last;
        Mark {
            told,
            // Before the look, so that no replacement after it is missed.
            replaced: self.0.replaced.load(Ordering::Relaxed),
            seen: view.lists(),
        }
    }

    /// Hears of every change of these lists from now on, as `view` shows them.
    pub fn listen(&self, lists: Lists<bool>, view: impl View + 'static) -> Listener {
        self.listen_since(self.mark(&view), lists, view)
    }

    /// As [`listen`](Self::listen), from a moment on that was marked.
    pub fn listen_since(
        &self,
        mark: Mark,
        lists: Lists<bool>,
        view: impl View + 'static,
    ) -> Listener {
        let state = State {
            mark,
            view: Box::new(view),
            next_look: Instant::now(),
            subscribed: HashSet::new(),
            updated: BTreeSet::new(),
            found: VecDeque::new(),
        };
        Listener {
            number: self.0.last_listener.fetch_add(1, Ordering::Relaxed),
            lists,
            news: Arc::new(News {
                state: Mutex::new(state),
                arrived: Notify::new(),
            }),
            changes: self.clone(),
        }
    }

    /// How many subscriptions to resources there are, over all listeners.
    pub fn subscriptions(&self) -> usize {
        self.0.subscribers.lock().subscriptions
    }

    fn subscribe(&self, uri: &Arc<str>, listener: &Listener) {
        let mut subscribers = self.0.subscribers.lock();
        let listeners = subscribers.of.entry(Arc::clone(uri)).or_default();
        let is_first = listeners.is_empty();
        listeners.insert(listener.number, Arc::clone(&listener.news));
        subscribers.subscriptions += 1;
        // Under the lock, so that the source hears of it in order.
        if let Some(source) = self.0.source.get().filter(|_| is_first) {
            source.watch(uri);
        }
    }

    fn unsubscribe(&self, uri: &str, number: u64) {
        let mut subscribers = self.0.subscribers.lock();
        let Some(listeners) = subscribers.of.get_mut(uri) else {
            return;
        };
        listeners.remove(&number);
        let was_last = listeners.is_empty();
        subscribers.subscriptions -= 1;
        if was_last {
            subscribers.of.remove(uri);
            if let Some(source) = self.0.source.get() {
                source.unwatch(uri);
            }
        }
    }
}

/// The listener is subscribed to as many resources as it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

/// Hears of changes. Dropped, it takes its subscriptions with it.
#[derive(Debug)]
pub struct Listener {
    changes: Changes,
    number: u64,
    lists: Lists<bool>,
    news: Arc<News>,
}

/// What a listener has to tell.
///
/// Locked before the subscribers of all resources, never after.
#[derive(Debug)]
struct News {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug)]
struct State {
    /// The last look.
    mark: Mark,
    view: Box<dyn View>,
    /// When to look next for what is new.
    next_look: Instant,
    subscribed: HashSet<Arc<str>>,
    /// The resources that changed since the last look.
    updated: BTreeSet<Arc<str>>,
    /// What the last look found and is still to be told.
    found: VecDeque<Change>,
}

impl News {
    fn note(&self, uri: &Arc<str>) {
        let mut state = self.state.lock();
        if state.subscribed.contains(uri) && state.updated.insert(Arc::clone(uri)) {
            drop(state);
            self.arrived.notify_waiters();
        }
    }
}

impl State {
    /// Which lists are others than before a replacement, of which there were so many by now.
    fn differs(&mut self, replaced: u64) -> Lists<bool> {
        if self.mark.replaced == replaced {
            return Lists::default();
        }
        self.mark.replaced = replaced;
        let now = self.view.lists();
        let before = std::mem::replace(&mut self.mark.seen, now);
        Lists {
            tools: before.tools != now.tools,
            prompts: before.prompts != now.prompts,
            resources: before.resources != now.resources,
        }
    }

    /// Of which lists something was said since the last look.
    fn hears(&mut self, said: &Said) -> Lists<bool> {
        let told = std::mem::replace(&mut self.mark.told, said.last);
        if told == said.last {
            return Lists::default();
        }
        let view = self.view.as_ref();
        Lists {
            tools: said.lists.tools.is_news(told, view),
            prompts: said.lists.prompts.is_news(told, view),
            resources: said.lists.resources.is_news(told, view),
        }
    }
}

impl Listener {
    /// Hears of a resource from now on. Once more is the same as once.
    ///
    /// # Errors
    ///
    /// [`TooMany`] beyond [`MAX_SUBSCRIPTIONS`] and [`MAX_SUBSCRIBED_BYTES`].
    pub fn subscribe(&self, uri: &str) -> Result<(), TooMany> {
        let mut state = self.news.state.lock();
        if state.subscribed.contains(uri) {
            return Ok(());
        }
        let bytes: usize = state.subscribed.iter().map(|uri| uri.len()).sum();
        if state.subscribed.len() >= MAX_SUBSCRIPTIONS || bytes + uri.len() > MAX_SUBSCRIBED_BYTES {
            return Err(TooMany);
        }
        let uri = Arc::from(uri);
        self.changes.subscribe(&uri, self);
        state.subscribed.insert(uri);
        Ok(())
    }

    /// Hears of a resource no more.
    pub fn unsubscribe(&self, uri: &str) {
        let mut state = self.news.state.lock();
        if state.subscribed.remove(uri) {
            state.updated.remove(uri);
            let stays = |change: &Change| !matches!(change, Change::Resource(of) if **of == *uri);
            state.found.retain(stays);
            self.changes.unsubscribe(uri, self.number);
        }
    }

    /// Looks with other eyes from now on: what they see otherwise has changed for this listener.
    pub fn look_with(&self, view: impl View + 'static) {
        let mut state = self.news.state.lock();
        state.view = Box::new(view);
        // Never the count of the hub, so that the next look compares the lists.
        state.mark.replaced = u64::MAX;
        drop(state);
        self.news.arrived.notify_waiters();
    }

    /// The next change. What changes again before it is told is told once.
    ///
    /// # Cancel safety
    ///
    /// No change is lost if this is dropped before it completes. Of several that wait at once each
    /// change is told to one.
    pub async fn next(&self) -> Change {
        loop {
            let mut announced = pin!(self.changes.0.announced.notified());
            let mut arrived = pin!(self.news.arrived.notified());
            // Before the look, so that no change after it is missed.
            announced.as_mut().enable();
            arrived.as_mut().enable();
            if let Some(change) = self.found() {
                return change;
            }
            let next_look = self.news.state.lock().next_look;
            sleep_until(next_look).await;
            self.look();
            if let Some(change) = self.found() {
                return change;
            }
            tokio::select! {
                () = announced => {}
                () = arrived => {}
            }
        }
    }

    fn found(&self) -> Option<Change> {
        self.news.state.lock().found.pop_front()
    }

    fn look(&self) {
        let mut state = self.news.state.lock();
        if !state.found.is_empty() {
            // Somebody else who reads this listener has looked meanwhile.
            return;
        }
        let differs = state.differs(self.changes.0.replaced.load(Ordering::Relaxed));
        let hears = state.hears(&self.changes.0.said.lock());
        let State {
            updated,
            found,
            next_look,
            view,
            ..
        } = &mut *state;
        *next_look = Instant::now() + PACE;
        let lists = [
            (
                Change::Tools,
                self.lists.tools,
                differs.tools || hears.tools,
            ),
            (
                Change::Prompts,
                self.lists.prompts,
                differs.prompts || hears.prompts,
            ),
            (
                Change::Resources,
                self.lists.resources,
                differs.resources || hears.resources,
            ),
        ];
        for (change, is_wanted, is_new) in lists {
            if is_wanted && is_new {
                found.push_back(change);
            }
        }
        let updated = std::mem::take(updated).into_iter();
        let visible = updated.filter(|uri| view.has(uri));
        found.extend(visible.map(Change::Resource));
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let subscribed = std::mem::take(&mut self.news.state.lock().subscribed);
        for uri in subscribed {
            self.changes.unsubscribe(&uri, self.number);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
