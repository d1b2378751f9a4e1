//! Asking for apps that are not known yet: whoever does not find one asks for a look at where apps come from, all who wait
//! share that look, and then look again. So an app works at once, however seldom the whole is read.

use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::timeout;

/// How long somebody waits for a look: a second may pass until the next one is due, and the database gets the rest.
const PATIENCE: Duration = Duration::from_millis(1500);

/// How many clients may wait at a time, and how many calls. Those with a wrong key would otherwise gather, each with a
/// connection, while the database is slow.
const WAITING: usize = 1024;

/// Who misses an app. Clients and calls have places of their own: wrong keys keep no back end's call out, and neither keeps
/// this server from its own work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A client, which has said a key.
    Client,
    /// An HTTP call, which has said an id; nothing of it is verified yet.
    Caller,
    /// This server, for a row of its outbox. One task asks, and needs no place.
    Outbox,
}

/// Between those who miss an app and the one task that reads them.
#[derive(Debug)]
pub struct Refresh {
    asked: Notify,
    looks: watch::Sender<Looks>,
    clients: Semaphore,
    callers: Semaphore,
}

/// How far the reading has come.
#[derive(Clone, Copy, Debug, Default)]
struct Looks {
    begun: u64,
    ended: u64,
    /// The last that ended saw all there is.
    succeeded: bool,
}

impl Refresh {
    pub(super) fn new() -> Refresh {
        Refresh {
            asked: Notify::new(),
            looks: watch::Sender::new(Looks::default()),
            clients: Semaphore::new(WAITING),
            callers: Semaphore::new(WAITING),
        }
    }

    /// Waits for a look that begins from now on; whether there was one and it saw all there is.
    pub(super) async fn look(&self, asker: Asker) -> bool {
        let places = match asker {
            Asker::Client => Some(&self.clients),
            Asker::Caller => Some(&self.callers),
            Asker::Outbox => None,
        };
        let Ok(_place) = places.map(Semaphore::try_acquire).transpose() else {
            return false;
        };
        let mut looks = self.looks.subscribe();
        // One that is under way may have passed the place where the app is by now.
        let before = looks.borrow().begun;
        self.asked.notify_one();
        let seen = timeout(PATIENCE, looks.wait_for(|looks| looks.ended > before)).await;
        seen.is_ok_and(|looks| looks.is_ok_and(|looks| looks.succeeded))
    }

    /// For the task that reads: waits until somebody asks. Cancel safe.
    pub async fn asked(&self) {
        self.asked.notified().await;
    }

    /// For the task that reads: it begins to.
    pub fn begin(&self) {
        self.looks.send_modify(|looks| looks.begun += 1);
    }

    /// For the task that reads: it has ended what it began, and has read all or not.
    pub fn end(&self, succeeded: bool) {
        self.looks.send_modify(|looks| {
            looks.ended = looks.begun;
            looks.succeeded = succeeded;
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn a_look_that_began_before_the_question_does_not_answer_it() {
        let refresh = Arc::new(Refresh::new());
        refresh.begin();
        let asking = refresh.clone();
        let asking = tokio::spawn(async move { asking.look(Asker::Client).await });
        refresh.asked().await;
        refresh.end(true);
        tokio::task::yield_now().await;
        assert!(!asking.is_finished());
        refresh.begin();
        refresh.end(true);
        assert!(asking.await.unwrap());
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let refresh = Refresh::new();
        assert!(!refresh.look(Asker::Client).await);
        refresh.begin();
        refresh.end(false);
        assert!(!refresh.look(Asker::Client).await);
    }

    #[tokio::test]
    async fn wrong_keys_keep_only_other_clients_out() {
        let refresh = Refresh::new();
        let _taken = refresh.clients.try_acquire_many(WAITING as u32).unwrap();
        assert!(!refresh.look(Asker::Client).await);
        let answered = async {
            for _ in 0..2 {
                refresh.asked().await;
                refresh.begin();
                refresh.end(true);
            }
        };
        let asking = async {
            assert!(refresh.look(Asker::Caller).await);
            let _taken = refresh.callers.try_acquire_many(WAITING as u32).unwrap();
            assert!(refresh.look(Asker::Outbox).await);
        };
        tokio::join!(answered, asking);
    }
}
