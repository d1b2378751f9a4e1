//! An event's way from the HTTP API to a subscriber, and a connection that is left alone.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Problem, Verdict, upgrade};
use crate::cli::client::api::Answer;
use crate::cli::client::{Api, Ended, Event, Socket};
use crate::cli::target::{Credentials, Target};

/// Subscribes, publishes, receives. The channel is this run's own: real pages hear nothing of it.
pub(super) async fn deliver(
    api: &Api,
    target: &Target,
    app: &Credentials,
    within: Duration,
) -> Verdict<()> {
    let mut number = [0; 8];
    // A channel that another doctor uses too would only cost a wrong figure.
    getrandom::fill(&mut number).ok();
    let channel = format!("gema-doctor-{:016x}", u64::from_ne_bytes(number));
    let mut socket = Socket::connect(target, None, within)
        .await
        .map_err(upgrade::problem)?;
    socket
        .subscribe(app, &channel, "")
        .await
        .map_err(upgrade::problem)?;
    let succeeded = "pusher_internal:subscription_succeeded";
    wait(&mut socket, &channel, succeeded, within)
        .await
        .map_err(|found| {
            Problem::new(
                format!("subscribing to {channel} failed: {found}"),
                "the server's log says more (GEMA_LOG=debug)",
            )
        })?;
    let body = json!({ "name": "gema-doctor", "channel": channel, "data": "{}" });
    let begun = Instant::now();
    let taken = api.post(app, "/events", body.to_string()).await;
    taken.and_then(Answer::good).map_err(|error| {
        Problem::new(
            format!("publishing failed: {error}"),
            "the proxy must pass POST requests below /apps/ on as they are",
        )
    })?;
    wait(&mut socket, &channel, "gema-doctor", within)
        .await
        .map_err(|found| {
            Problem::new(
                format!("the event was taken, and did not arrive: {found}"),
                "the API and the WebSocket reach servers that know nothing of each other: give all nodes the same \
                 [redis], or the proxy one server",
            )
        })?;
    let took = begun.elapsed();
    socket.close().await;
    Ok((
        (),
        format!("published and received in {}", milliseconds(took)),
    ))
}

/// Waits for this event of the channel; what else comes is not ours.
async fn wait(
    socket: &mut Socket,
    channel: &str,
    name: &str,
    within: Duration,
) -> Result<Event, String> {
    let deadline = Instant::now() + within;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let event = match socket.within(left).await {
            Ok(event) => event,
            Err(Ended::Silent(_)) => {
                return Err(format!("nothing within {} s", within.as_secs_f32()));
            }
            Err(ended) => return Err(ended.to_string()),
        };
        if event.event == name && event.channel.as_deref() == Some(channel) {
            return Ok(event);
        }
        if event.event == "pusher:subscription_error" || event.event == "pusher:error" {
            return Err(event.text());
        }
    }
}

/// Is silent for this long, if asked to, and then pings.
pub(super) async fn ping(target: &Target, idle: Option<Duration>, within: Duration) -> Verdict<()> {
    let mut socket = Socket::connect(target, None, within)
        .await
        .map_err(upgrade::problem)?;
    let begun = Instant::now();
    if let Some(idle) = idle {
        let end = begun + idle;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match socket.within(left).await {
                Ok(_) => {}
                Err(Ended::Silent(_)) => break,
                Err(ended) => {
                    let after = begun.elapsed().as_secs();
                    return Err(Problem::new(
                        format!("{ended}, after {after} s of silence"),
                        "raise the proxy's time limit for silent connections above limits.activity_timeout_s (120 s), after \
                         which gema pings: nginx proxy_read_timeout 180s, HAProxy timeout tunnel 180s",
                    ));
                }
            }
        }
    }
    let asked = Instant::now();
    let answered = async {
        socket.ping().await?;
        while socket.within(within).await?.event != "pusher:pong" {}
        Ok::<_, Ended>(())
    };
    if let Err(ended) = answered.await {
        let waited = idle.map_or(String::new(), |idle| {
            format!(" after {} s of silence", idle.as_secs())
        });
        return Err(Problem::new(
            format!("no answer to a ping{waited}: {ended}"),
            "something between here and gema has dropped the connection: raise its time limit for silent connections above \
             limits.activity_timeout_s (120 s)",
        ));
    }
    let took = milliseconds(asked.elapsed());
    socket.close().await;
    let found = match idle {
        Some(idle) => format!("answered in {took} after {} s of silence", idle.as_secs()),
        None => format!(
            "answered in {took} (--idle 90 looks for proxies that close silent connections)"
        ),
    };
    Ok(((), found))
}

fn milliseconds(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1000.0)
}
