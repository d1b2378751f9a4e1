//! What waits for one link: questions, and publications that outlive an outage. No I/O and no clock; the time goes in.
//!
//! Every job has a number from one count, given under its queue's lock. So jobs are carried out in the order of the
//! calls, and publications that change links with their slot find their place among the new link's.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::Value;
use tokio::sync::oneshot;

use super::command::{AskError, Command};

/// The most that publications may take while a link is away or slow; above it the oldest are dropped.
pub const BACKLOG_BYTES: usize = 16 * 1024 * 1024;
/// How long after a link is up again kept publications are sent: the other nodes, which lost Redis too, have subscribed
/// by then.
pub const SETTLE: Duration = Duration::from_secs(1);
/// One pipeline: enough to make round trips cheap, little enough to be answered at once.
const BATCH_COMMANDS: usize = 256;
const BATCH_BYTES: usize = 1024 * 1024;

static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// One command on its way.
#[derive(Debug)]
pub(super) struct Job {
    number: u64,
    /// Of the name it was handed over with.
    pub slot: u16,
    pub command: Command,
    size: usize,
    /// Who waits for the reply; nobody for publications.
    pub asker: Option<oneshot::Sender<Result<Value, AskError>>>,
}

/// The jobs of one link.
#[derive(Debug, Default)]
pub(super) struct Queue {
    asked: VecDeque<Job>,
    kept: VecDeque<Job>,
    kept_bytes: usize,
    /// Publications wait until then.
    held_until: Option<Instant>,
}

impl Queue {
    /// Adds a question.
    pub(super) fn ask(
        &mut self,
        slot: u16,
        command: Command,
        asker: oneshot::Sender<Result<Value, AskError>>,
    ) {
        self.asked.push_back(Job::new(slot, command, Some(asker)));
    }

    /// Adds a publication; returns how many old ones that cost.
    pub(super) fn keep(&mut self, slot: u16, command: Command) -> u64 {
        let job = Job::new(slot, command, None);
        self.kept_bytes += job.size;
        self.kept.push_back(job);
        self.trim()
    }

    /// Publications are not sent before this time.
    pub(super) fn hold_until(&mut self, time: Instant) {
        self.held_until = Some(time);
    }

    /// When held publications may be sent, if there are any.
    pub(super) fn due(&self) -> Option<Instant> {
        self.held_until.filter(|_| !self.kept.is_empty())
    }

    /// What to send now, in order.
    pub(super) fn take(&mut self, now: Instant) -> Vec<Job> {
        if self.held_until.is_some_and(|until| until <= now) {
            self.held_until = None;
        }
        let mut jobs = Vec::new();
        let mut bytes = 0;
        while jobs.len() < BATCH_COMMANDS && bytes < BATCH_BYTES {
            let kept = self.kept.front().filter(|_| self.held_until.is_none());
            let ask_first = match (self.asked.front(), kept) {
                (Some(asked), Some(kept)) => asked.number < kept.number,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => break,
            };
            let job = if ask_first {
                self.asked.pop_front()
            } else {
                self.kept.pop_front()
            };
            let Some(job) = job else { break };
            if !ask_first {
                self.kept_bytes -= job.size;
            }
            bytes += job.size;
            jobs.push(job);
        }
        jobs
    }

    /// Answers all who wait that Redis is away.
    pub(super) fn cut(&mut self) {
        for job in self.asked.drain(..) {
            job.answer(Err(AskError::Away));
        }
    }

    /// Takes publications back that were sent in vain, or that another link was to send; returns how many old ones
    /// that cost.
    pub(super) fn put_back(&mut self, jobs: impl IntoIterator<Item = Job>) -> u64 {
        let before = self.kept.len();
        for job in jobs {
            self.kept_bytes += job.size;
            self.kept.push_back(job);
        }
        if self.kept.len() != before {
            // Nearly sorted already, and rare.
            self.kept.make_contiguous().sort_by_key(|job| job.number);
        }
        self.trim()
    }

    /// Takes out the publications of slots that are not this link's any more.
    pub(super) fn take_strays(&mut self, ours: impl Fn(u16) -> bool) -> Vec<Job> {
        let (ours, strays): (VecDeque<Job>, VecDeque<Job>) =
            self.kept.drain(..).partition(|job| ours(job.slot));
        self.kept = ours;
        self.kept_bytes = self.kept.iter().map(|job| job.size).sum();
        strays.into()
    }

    /// Whether any publication waits.
    pub(super) fn keeps_any(&self) -> bool {
        !self.kept.is_empty()
    }

    fn trim(&mut self) -> u64 {
        let mut count = 0;
        while self.kept_bytes > BACKLOG_BYTES
            && let Some(job) = self.kept.pop_front()
        {
            self.kept_bytes -= job.size;
            count += 1;
        }
        count
    }
}

impl Job {
    fn new(
        slot: u16,
        command: Command,
        asker: Option<oneshot::Sender<Result<Value, AskError>>>,
    ) -> Job {
        Job {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            slot,
            size: command.size(),
            command,
            asker,
        }
    }

    /// Tells who waits, if anybody still does.
    pub(super) fn answer(self, answer: Result<Value, AskError>) {
        if let Some(asker) = self.asker {
            drop(asker.send(answer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::command::Answer;
    use super::*;

    fn publication(text: &str) -> Command {
        Command::Publish {
            channel: text.into(),
            payload: Vec::new(),
        }
    }

    fn large() -> Command {
        Command::Publish {
            channel: String::new(),
            payload: vec![0; BACKLOG_BYTES / 4],
        }
    }

    fn ask(queue: &mut Queue, text: &str) -> Answer {
        let (asker, answer) = Answer::pending();
        queue.ask(0, publication(text), asker);
        answer
    }

    fn names(jobs: &[Job]) -> Vec<&str> {
        jobs.iter()
            .map(|job| match &job.command {
                Command::Publish { channel, .. } => channel.as_str(),
                _ => "",
            })
            .collect()
    }

    #[test]
    fn questions_and_publications_leave_in_the_order_of_the_calls() {
        let mut queue = Queue::default();
        queue.keep(0, publication("1"));
        let _second = ask(&mut queue, "2");
        queue.keep(0, publication("3"));
        assert_eq!(names(&queue.take(Instant::now())), ["1", "2", "3"]);
    }

    #[test]
    fn held_publications_let_questions_pass() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.hold_until(now + SETTLE);
        queue.keep(0, publication("1"));
        let _second = ask(&mut queue, "2");
        assert_eq!(names(&queue.take(now)), ["2"]);
        assert_eq!(queue.due(), Some(now + SETTLE));
        assert_eq!(names(&queue.take(now + SETTLE)), ["1"]);
    }

    #[test]
    fn what_was_sent_in_vain_leaves_first() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.keep(0, publication("1"));
        queue.keep(0, publication("2"));
        let sent = queue.take(now);
        queue.keep(0, publication("3"));
        queue.put_back(sent);
        assert_eq!(names(&queue.take(now)), ["1", "2", "3"]);
    }

    #[test]
    fn the_oldest_are_dropped_and_counted_above_the_bound() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.keep(0, publication("oldest"));
        let lost: u64 = (0..4).map(|_| queue.keep(0, large())).sum();
        assert_eq!(lost, 2);
        assert_eq!(names(&queue.take(now)).len(), 1, "a batch is a mebibyte");
        assert_eq!(names(&queue.take(now)), [""]);
    }

    #[test]
    fn publications_follow_their_slot_and_keep_their_order() {
        let (mut old, mut new, now) = (Queue::default(), Queue::default(), Instant::now());
        old.keep(1, publication("1"));
        old.keep(2, publication("2"));
        new.keep(1, publication("3"));
        new.put_back(old.take_strays(|slot| slot == 2));
        assert_eq!(names(&new.take(now)), ["1", "3"]);
        assert_eq!(names(&old.take(now)), ["2"]);
    }

    #[tokio::test]
    async fn a_cut_answers_those_who_wait_and_keeps_publications() {
        let mut queue = Queue::default();
        let answer = ask(&mut queue, "1");
        queue.keep(0, publication("2"));
        queue.cut();
        assert_eq!(answer.await, Err(AskError::Away));
        assert_eq!(names(&queue.take(Instant::now())), ["2"]);
    }
}
