//! A thread a shard, with a runtime that stays on it: there live the shard, and the HTTP and the reading of the connections
//! that are its own. So an event goes from a client to its shard, and from the shard to its sockets, without waking another
//! core; a runtime whose workers share their tasks woke one at most requests (62 us of CPU a trigger on an idle machine
//! instead of 41, and 25 instead of 18 where both cores were awake anyway). What is not a connection (bus, webhooks, database, admin) has the runtime that all of it was started on.

use std::io;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::hub;

/// The threads; what is still under way there ends when this is dropped.
pub(super) struct Threads {
    handles: Vec<Handle>,
    _running: Vec<oneshot::Sender<()>>,
}

impl Threads {
    /// Starts one thread for each of `shards` shards.
    ///
    /// # Errors
    /// The operating system gives no thread, or none of what a runtime needs of it.
    pub(super) fn start(shards: usize) -> io::Result<Threads> {
        let mut threads = Threads {
            handles: Vec::with_capacity(shards),
            _running: Vec::with_capacity(shards),
        };
        for shard in 0..shards {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let (running, dropped) = oneshot::channel::<()>();
            threads.handles.push(runtime.handle().clone());
            threads._running.push(running);
            thread::Builder::new()
                .name(format!("shard-{shard}"))
                .spawn(move || {
                    hub::make_home(shard);
                    // It is never sent to, only dropped.
                    runtime.block_on(dropped).ok();
                })?;
        }
        Ok(threads)
    }

    /// Where tasks are put on the threads, in the order of the shards.
    pub(super) fn handles(&self) -> &[Handle] {
        &self.handles
    }
}
