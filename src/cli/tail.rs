//! `gema tail`: the live events of a running server, heard as a page would hear them.
//! Its connection comes back as that of pusher-js does.

use std::collections::BTreeSet;
use std::time::Duration;

use gema_protocol::channel::ChannelName;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until};

use super::client::api::{Answer, ApiError};
use super::client::{Api, Ended, Event, Socket};
use super::output::{self, BAD, FAINT, NAME, OPEN, Progress, styled};
use super::target::{Credentials, Target, TargetArgs};
use super::{CommandError, block_on, trigger};
use crate::clock;

/// How long connecting may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often to ask which channels there are.
const LOOK: Duration = Duration::from_secs(2);

/// The most channels that are heard without being named: beyond that nobody reads along.
const MOST: usize = 1000;

/// Pauses between attempts: pusher-js's constant second, growing for a server that stays away.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Show the live events of a running server
///
/// Without channels: every occupied public or private channel, looked for every two seconds. It subscribes as a page does, and
/// signs private and presence channels itself: in a presence channel, which has to be named, the others see a member
/// "gema-tail". Encrypted channels show as they travel, encrypted. Ctrl-C ends it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  gema tail availability private-booking.7\n  \
                  gema tail --json --count 1 orders | jq .data"
)]
pub(super) struct Args {
    /// Channels to hear; all that are occupied if none is named
    #[arg(value_name = "CHANNEL")]
    channels: Vec<String>,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print each event as a line of JSON: time, channel, event, data, user_id
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

pub(super) fn run(args: Args) -> Result<(), CommandError> {
    let target = args.target.resolve()?;
    let app = target.credentials()?;
    let mut tail = Tail {
        api: Api::new(&target, TIMEOUT)?,
        named: args.channels.into_iter().collect(),
        left: args.count,
        json: args.json,
        progress: Progress::new(),
        target,
        app,
        heard: BTreeSet::new(),
        refused: 0,
    };
    for channel in &tail.named {
        ChannelName::parse(channel, 1000).map_err(|error| {
            CommandError::Usage(format!("{error}: \"{}\"", output::harmless(channel)))
        })?;
    }
    block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(CommandError::Signals)?;
        tokio::select! {
            ended = tail.run() => ended,
            // Who ends it has seen enough.
            _ = tokio::signal::ctrl_c() => Ok(()),
            _ = terminate.recv() => Ok(()),
        }
    })
}

struct Tail {
    target: Target,
    app: Credentials,
    api: Api,
    /// Empty: all there are.
    named: BTreeSet<String>,
    left: Option<u64>,
    json: bool,
    progress: Progress,
    /// What this connection is subscribed to, or has asked for.
    heard: BTreeSet<String>,
    refused: usize,
}

/// How a connection ended.
enum Over {
    /// As many events as were asked for, or nobody reads them any more.
    Enough,
    Ended(Ended),
    Failed(CommandError),
}

impl Tail {
    async fn run(&mut self) -> Result<(), CommandError> {
        self.progress
            .waiting(&format!("connecting to {}", self.target.base));
        let first = Socket::connect(&self.target, None, TIMEOUT).await;
        // A server that is not there at the beginning is a mistake to be told, not an outage to be waited out.
        let mut socket = first.map_err(|ended| self.failed(&ended))?;
        let mut pause = FIRST_PAUSE;
        loop {
            self.greet();
            let over = self.listen(&mut socket).await;
            socket.close().await;
            let mut ended = match over {
                Over::Enough => return Ok(()),
                Over::Failed(error) => return Err(error),
                Over::Ended(ended) => ended,
            };
            socket = loop {
                let wait = retry(&ended, pause).ok_or_else(|| self.failed(&ended))?;
                self.progress.done();
                let when = match wait.as_secs() {
                    0 => "at once".to_owned(),
                    seconds => format!("in {seconds} s"),
                };
                self.aside(OPEN, &format!("{ended}; connecting again {when}"));
                sleep(wait).await;
                self.progress
                    .waiting(&format!("connecting to {}", self.target.base));
                match Socket::connect(&self.target, None, TIMEOUT).await {
                    Ok(socket) => break socket,
                    Err(again) => {
                        pause = (pause * 2).min(LONGEST_PAUSE);
                        ended = again;
                    }
                }
            };
            pause = FIRST_PAUSE;
        }
    }

    /// Says where it listens, and for what.
    fn greet(&mut self) {
        self.progress.done();
        self.heard.clear();
        self.refused = 0;
        let what = match self.named.is_empty() {
            true => "all occupied channels but presence channels".to_owned(),
            false => self.named.iter().cloned().collect::<Vec<_>>().join(", "),
        };
        self.aside(
            FAINT,
            &format!("listening at {} to {what}", self.target.base),
        );
    }

    /// Subscribes and prints, until the connection ends.
    async fn listen(&mut self, socket: &mut Socket) -> Over {
        let named: Vec<String> = self.named.iter().cloned().collect();
        for channel in named {
            if let Err(ended) = self.subscribe(socket, channel).await {
                return Over::Ended(ended);
            }
        }
        let mut look = Instant::now();
        loop {
            let event = tokio::select! {
                event = socket.next() => event,
                () = sleep_until(look), if self.named.is_empty() => {
                    if let Err(over) = self.look_around(socket).await {
                        return over;
                    }
                    look = Instant::now() + LOOK;
                    continue;
                }
            };
            match event {
                Err(ended) => return Over::Ended(ended),
                Ok(event) => {
                    if let Some(over) = self.take(&event) {
                        return over;
                    }
                }
            }
        }
    }

    async fn subscribe(&mut self, socket: &mut Socket, channel: String) -> Result<(), Ended> {
        socket.subscribe(&self.app, &channel, "gema-tail").await?;
        self.heard.insert(channel);
        Ok(())
    }

    /// Joins what has become occupied, and leaves what nobody else is in any more.
    async fn look_around(&mut self, socket: &mut Socket) -> Result<(), Over> {
        let answer = self
            .api
            .get(&self.app, "/channels", "info=subscription_count")
            .await;
        let answer = match answer.and_then(Answer::good) {
            Ok(answer) => answer,
            // The connection tells when the server is gone; a refusal is for good.
            Err(ApiError::NoAnswer(_)) => return Ok(()),
            Err(error) => {
                return Err(Over::Failed(trigger::refused(
                    self.target.base.as_str(),
                    &error,
                )));
            }
        };
        let listed: Value = serde_json::from_str(&answer.text).unwrap_or_default();
        let Some(channels) = listed["channels"].as_object() else {
            return Ok(());
        };
        // How many others are in a channel; a server that does not count is taken at its word that somebody is.
        let others = |name: &str, ours: bool| {
            let known = channels.get(name);
            let count = known.map_or(0, |of| of["subscription_count"].as_u64().unwrap_or(2));
            count.saturating_sub(u64::from(ours))
        };
        let mut joined: Vec<&String> = Vec::new();
        for channel in channels.keys() {
            let wanted = !channel.starts_with("presence-") && !channel.starts_with('#');
            if wanted && !self.heard.contains(channel) && others(channel, false) > 0 {
                joined.push(channel);
            }
        }
        let alone = |name: &&String| others(name, true) == 0;
        let left: Vec<String> = self.heard.iter().filter(alone).cloned().collect();
        for channel in left {
            self.heard.remove(&channel);
            socket.unsubscribe(&channel).await.map_err(Over::Ended)?;
        }
        for channel in joined {
            if self.heard.len() == MOST {
                break;
            }
            let subscribed = self.subscribe(socket, channel.clone()).await;
            subscribed.map_err(Over::Ended)?;
        }
        Ok(())
    }

    /// Prints an event; what the server says about the connection itself goes to standard error.
    fn take(&mut self, event: &Event) -> Option<Over> {
        let channel = event.channel.as_deref().unwrap_or_default();
        match event.event.as_str() {
            "pusher_internal:subscription_succeeded" | "pusher:cache_miss" => return None,
            "pusher:subscription_error" => {
                let data = event.object();
                let why = data["error"].as_str().unwrap_or("refused");
                self.aside(BAD, &format!("{channel}: {}", output::harmless(why)));
                self.refused += 1;
                if !self.named.is_empty() && self.refused == self.named.len() {
                    return Some(Over::Failed(CommandError::Failed(
                        "none of the channels can be heard; is it the server's --secret?"
                            .to_owned(),
                    )));
                }
                return None;
            }
            // One that closes is followed by the close.
            "pusher:error" => {
                let data = event.object();
                let why = data["message"].as_str().unwrap_or_default();
                self.aside(BAD, &output::harmless(why));
                return None;
            }
            _ => {}
        }
        let written = output::line(&self.dress(event));
        let left = self.left.as_mut().map(|left| {
            *left -= 1;
            *left
        });
        (written.is_err() || left == Some(0)).then_some(Over::Enough)
    }

    fn dress(&self, event: &Event) -> String {
        let time = time(clock::unix_ms());
        let channel = event.channel.as_deref().unwrap_or_default();
        if self.json {
            let mut line = json!({
                "time": time,
                "channel": event.channel,
                "event": event.event,
                "data": event.object(),
            });
            if let Some(user) = &event.user_id {
                line["user_id"] = user.as_str().into();
            }
            return line.to_string();
        }
        let sender = event.user_id.as_ref().map(|user| {
            let by = format!(" by {}", output::harmless(user));
            styled(FAINT, by)
        });
        format!(
            "{}  {}  {}{}  {}",
            // The day is today.
            styled(FAINT, &time[11..]),
            styled(NAME, output::harmless(channel)),
            output::harmless(&event.event),
            sender.unwrap_or_default(),
            output::harmless(&event.text())
        )
    }

    fn aside(&self, style: anstyle::Style, text: &str) {
        self.progress.done();
        output::note(&styled(style, text));
    }

    fn failed(&self, ended: &Ended) -> CommandError {
        let cure = ended.cure();
        let said = format!("{}: {ended}\n{cure}", self.target.base);
        CommandError::Failed(
            said.split('\n')
                .map(output::harmless)
                .collect::<Vec<_>>()
                .join("\n"),
        )
    }
}

/// When to come back, by the ranges of close codes ("Connection closure", Pusher's Channels WebSocket protocol); `None`:
/// never.
fn retry(ended: &Ended, pause: Duration) -> Option<Duration> {
    match ended {
        Ended::Closed { code, .. } => match code {
            4000..4100 => None,
            4200..4300 => Some(Duration::ZERO),
            _ => Some(pause),
        },
        _ => Some(pause),
    }
}

/// RFC 3339 in UTC, in milliseconds.
fn time(unix_ms: u64) -> String {
    let whole = clock::rfc3339(unix_ms as i64);
    format!("{}.{:03}Z", whole.trim_end_matches('Z'), unix_ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_as_pusher_js_does() {
        let after = |code| {
            let message = String::new();
            retry(&Ended::Closed { code, message }, FIRST_PAUSE)
        };
        assert_eq!(after(4001), None);
        assert_eq!(after(4009), None);
        assert_eq!(after(4100), Some(FIRST_PAUSE));
        assert_eq!(after(4200), Some(Duration::ZERO));
        assert_eq!(after(1006), Some(FIRST_PAUSE));
        let broken = Ended::Broken(String::new());
        assert_eq!(retry(&broken, LONGEST_PAUSE), Some(LONGEST_PAUSE));
    }

    #[test]
    fn times_have_milliseconds() {
        assert_eq!(time(1_749_124_800_007), "2025-06-05T12:00:00.007Z");
    }
}
