//! Outages that the soak makes itself, and for which gema does not promise that every event arrives: since when, until when,
//! and whose events.

use std::cell::RefCell;
use std::time::Duration;

use tokio::time::Instant;

/// So long before the fault begins what may get lost by it: taken by the node, and not yet by Redis or the kernel.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// Whose events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Those posted to this node.
    Node(usize),
    /// All.
    Everybody,
}

#[derive(Debug)]
struct Window {
    scope: Scope,
    from: Instant,
    until: Option<Instant>,
}

/// All of one run: one for each fault.
#[derive(Debug, Default)]
pub(crate) struct Outages {
    windows: RefCell<Vec<Window>>,
}

impl Outages {
    /// It begins with the next thing that is done.
    pub(crate) fn begin(&self, scope: Scope) {
        self.windows.borrow_mut().push(Window {
            scope,
            from: Instant::now() - ON_ITS_WAY,
            until: None,
        });
    }

    /// The one that is open is over.
    pub(crate) fn end(&self) {
        if let Some(window) = self.windows.borrow_mut().last_mut() {
            window.until = Some(Instant::now());
        }
    }

    /// Whether an event posted to this node at this moment was announced as one that may get lost.
    pub(crate) fn announced(&self, node: usize, at: Instant) -> bool {
        self.windows.borrow().iter().any(|window| {
            (window.scope == Scope::Everybody || window.scope == Scope::Node(node))
                && window.from <= at
                && window.until.is_none_or(|until| at <= until)
        })
    }

    /// Whether Redis is away, or has been back for no longer than that.
    pub(crate) fn everybody_within(&self, time: Duration) -> bool {
        self.windows.borrow().iter().any(|window| {
            window.scope == Scope::Everybody
                && window.until.is_none_or(|until| until.elapsed() < time)
        })
    }
}
