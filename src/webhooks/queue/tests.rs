//! What the queue promises, on a clock of its own.

use super::lane::BATCH_BYTES;
use super::*;

const S: Duration = Duration::from_secs(1);

/// A queue, and a time that moves when the test says so.
struct Bench {
    queue: Queue,
    start: Instant,
    now: Instant,
}

impl Bench {
    fn new(batch: Duration) -> Bench {
        let start = Instant::now();
        Bench {
            queue: Queue::new(Settings::default(), batch),
            start,
            now: start,
        }
    }

    fn push(&mut self, channel: &str, json: &str) {
        let channel = ChannelName::parse(channel, 200).unwrap();
        let time_ms = self.now.duration_since(self.start).as_millis() as u64;
        self.queue.push(&channel, json.into(), self.now, time_ms);
    }

    fn next(&mut self) -> Option<Job> {
        match self.queue.next(self.now) {
            Next::Send(job) => Some(job),
            _ => None,
        }
    }

    /// The next job's body and the job.
    fn send(&mut self) -> (String, Job) {
        let job = self.next().expect("something to send");
        (String::from_utf8(job.body.to_vec()).unwrap(), job)
    }

    fn delivered(&mut self, job: Job) {
        self.queue.delivered(job, self.now);
    }

    fn failed(&mut self, job: Job, answered: bool) {
        let failure = Failure {
            reason: "no".to_owned(),
            answered,
        };
        self.queue.failed(job, failure, u32::MAX, self.now);
    }

    /// To the next alarm: how long it was.
    fn wait(&mut self) -> Option<Duration> {
        match self.queue.next(self.now) {
            Next::Wait(Some(due)) => {
                let waited = due - self.now;
                self.now = due;
                Some(waited)
            }
            _ => None,
        }
    }
}

#[test]
fn a_channel_has_one_request_at_a_time_and_no_other_waits_for_it() {
    let mut bench = Bench::new(Duration::ZERO);
    for (channel, json) in [("a", "1"), ("a", "2"), ("b", "3")] {
        bench.push(channel, json);
    }
    let (body, first) = bench.send();
    assert_eq!(body, r#"{"time_ms":0,"events":[1]}"#);
    let (body, other) = bench.send();
    assert_eq!(body, r#"{"time_ms":0,"events":[3]}"#);
    assert!(bench.next().is_none());
    bench.failed(first, true);
    bench.delivered(other);
    assert!(bench.next().is_none());
    assert_eq!(bench.wait(), Some(S));
    let (body, first) = bench.send();
    assert_eq!(body, r#"{"time_ms":0,"events":[1]}"#);
    bench.delivered(first);
    assert_eq!(bench.send().0, r#"{"time_ms":0,"events":[2]}"#);
    assert_eq!(bench.queue.totals().delivered, 2);
}

#[test]
fn the_pauses_double_up_to_a_minute_and_end_five_minutes_after_the_event() {
    let mut bench = Bench::new(Duration::ZERO);
    bench.push("a", "1");
    let mut pauses = Vec::new();
    loop {
        let (body, job) = bench.send();
        assert_eq!(body, r#"{"time_ms":0,"events":[1]}"#);
        bench.failed(job, true);
        match bench.wait() {
            Some(pause) => pauses.push(pause.as_secs_f64().round() as u64),
            None => break,
        }
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60, 57]);
    assert_eq!(bench.now - bench.start, Duration::from_secs(300));
    assert_eq!(bench.queue.totals().given_up, 1);
    assert_eq!(bench.queue.len(), 0);
}

#[test]
fn an_event_behind_one_that_is_refused_for_five_minutes_is_still_tried() {
    let mut bench = Bench::new(Duration::ZERO);
    bench.push("a", "1");
    bench.push("a", "2");
    let (_, job) = bench.send();
    bench.now += 301 * S;
    bench.failed(job, true);
    assert_eq!(bench.send().0, r#"{"time_ms":0,"events":[2]}"#);
}

#[test]
fn while_nobody_answers_old_events_make_room_for_new_ones() {
    let mut bench = Bench::new(Duration::ZERO);
    for json in ["1", "2"] {
        bench.push("a", json);
        bench.push("b", json);
    }
    let (_, in_a) = bench.send();
    let (_, in_b) = bench.send();
    bench.failed(in_b, false);
    bench.now += 299 * S;
    bench.push("b", "3");
    bench.now += 2 * S;
    bench.failed(in_a, false);
    assert_eq!(bench.send().0, r#"{"time_ms":299000,"events":[3]}"#);
    assert_eq!(bench.queue.totals().given_up, 4);
    assert_eq!(bench.queue.len(), 1);
}

#[test]
fn an_outage_is_told_once_and_so_is_its_end() {
    let mut bench = Bench::new(Duration::ZERO);
    bench.push("a", "1");
    bench.push("b", "2");
    for _ in 0..2 {
        let (_, job) = bench.send();
        bench.failed(job, true);
    }
    let reason = "no".to_owned();
    assert_eq!(bench.queue.take_notes(), [Note::Failing { reason }]);
    bench.wait();
    for notes in [vec![], vec![Note::Recovered { given_up: 0 }]] {
        let (_, job) = bench.send();
        bench.delivered(job);
        assert_eq!(bench.queue.take_notes(), notes);
    }
}

#[test]
fn a_long_outage_is_no_flood_of_lines() {
    let mut bench = Bench::new(Duration::ZERO);
    for number in 0..100 {
        bench.push(&format!("a{number}"), "1");
    }
    bench.now += 300 * S;
    while let Some(job) = bench.next() {
        bench.failed(job, true);
    }
    let given_up = |events| Note::GivenUp { events };
    let notes = bench.queue.take_notes();
    assert_eq!(notes[1..], [1, 2, 4, 8, 16, 32, 64].map(given_up));
}

#[test]
fn a_full_queue_takes_no_more_and_says_so_once_and_again_when_it_has_room() {
    let mut bench = Bench::new(Duration::ZERO);
    bench.queue.settings.queue_events = 4;
    for number in 0..7 {
        bench.push(&format!("a{number}"), "1");
    }
    assert_eq!(bench.queue.len(), 4);
    assert_eq!(bench.queue.totals().overflowed, 3);
    assert_eq!(bench.queue.take_notes(), [Note::Full]);
    let (_, job) = bench.send();
    bench.delivered(job);
    assert_eq!(bench.queue.take_notes(), []);
    let (_, job) = bench.send();
    bench.delivered(job);
    assert_eq!(bench.queue.take_notes(), [Note::RoomAgain { lost: 3 }]);
}

#[test]
fn bytes_fill_a_queue_too() {
    let mut bench = Bench::new(Duration::ZERO);
    bench.queue.settings.queue_bytes = 10;
    for json in ["12345", "123456", "12345"] {
        bench.push("a", json);
    }
    assert_eq!((bench.queue.len(), bench.queue.bytes), (2, 10));
}

#[test]
fn a_window_collects_what_happens_in_it_from_its_first_event_on() {
    let mut bench = Bench::new(S);
    bench.push("a", "1");
    bench.now += S / 2;
    bench.push("b", "2");
    assert_eq!(bench.wait(), Some(S / 2));
    let (body, job) = bench.send();
    assert_eq!(body, r#"{"time_ms":0,"events":[1,2]}"#);
    bench.push("a", "3");
    assert!(bench.next().is_none());
    bench.delivered(job);
    assert_eq!(bench.wait(), Some(S));
    assert_eq!(bench.send().0, r#"{"time_ms":1000,"events":[3]}"#);
}

#[test]
fn a_request_has_a_bounded_number_of_events_and_bytes() {
    let mut bench = Bench::new(S);
    for _ in 0..BATCH_EVENTS + 1 {
        bench.push("a", "1");
    }
    let (body, job) = bench.send();
    assert_eq!(body.matches('1').count(), BATCH_EVENTS);
    bench.delivered(job);
    assert_eq!(bench.wait(), Some(S));
    let (_, job) = bench.send();
    bench.delivered(job);

    let large = "1".repeat(BATCH_BYTES);
    bench.push("a", &large);
    bench.push("a", "2");
    bench.wait();
    let (body, job) = bench.send();
    assert!(!body.contains('2'));
    bench.delivered(job);
    assert!(bench.send().0.contains('2'));
}

#[test]
fn the_end_waits_for_no_window_and_no_pause() {
    let mut bench = Bench::new(S);
    bench.push("a", "1");
    bench.queue.end();
    let (_, job) = bench.send();
    bench.push("a", "2");
    bench.delivered(job);
    let (_, job) = bench.send();
    assert!(matches!(bench.queue.next(bench.now), Next::Wait(_)));
    bench.delivered(job);
    assert!(matches!(bench.queue.next(bench.now), Next::End));

    let mut bench = Bench::new(Duration::ZERO);
    bench.push("a", "1");
    let (_, job) = bench.send();
    bench.failed(job, true);
    bench.queue.end();
    bench.send();
}

#[test]
fn pauses_differ_so_that_not_all_come_back_at_once() {
    let settings = Settings::default();
    assert_eq!(settings.backoff(1, 0), S / 2);
    assert_eq!(settings.backoff(3, 0), 2 * S);
    assert!(settings.backoff(3, u32::MAX / 2) <= 3 * S);
    assert!(settings.backoff(u32::MAX, u32::MAX) <= 60 * S);
}
