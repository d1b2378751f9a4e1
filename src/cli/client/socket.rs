//! The WebSocket of a running server, as a small Pusher client: connects, subscribes, hears.
//! Close codes and pauses mean what they mean to pusher-js.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use gema_protocol::auth::sign_channel;
use hyper::header::{HeaderValue, LOCATION, ORIGIN, SERVER};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};

use super::api::beginning;
use super::dial::{self, DialError, Stream};
use crate::cli::target::{Credentials, Target};

/// The longest message that is taken: servers may allow more than gema's 10 KB an event, and none sends this much.
const MESSAGE: usize = 16 * 1024 * 1024;

/// How long the server has for a pong, as in pusher-js.
const PONG: Duration = Duration::from_secs(30);

/// A connection that the server has greeted.
pub(in crate::cli) struct Socket {
    stream: WebSocketStream<Box<dyn Stream>>,
    /// The server's name for it, which signatures name.
    pub(in crate::cli) id: String,
    /// How long to be silent before asking for a sign of life.
    silence: Duration,
    /// When something came last.
    heard: Instant,
    /// Since when a pong is due.
    pinged: Option<Instant>,
}

/// A message of the server.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Event {
    pub(in crate::cli) event: String,
    pub(in crate::cli) channel: Option<String>,
    /// As it came: a text that usually holds JSON, or JSON.
    pub(in crate::cli) data: Value,
    pub(in crate::cli) user_id: Option<String>,
}

/// Why there is no connection, or none any more.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum Ended {
    /// Not even TCP, or TLS.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// HTTP answered, and did not switch to the WebSocket.
    #[error("the WebSocket handshake was answered with {status}{}", of(server))]
    NotUpgraded {
        /// HTTP's.
        status: u16,
        /// The header `Server`, "" without.
        server: String,
        /// Where a redirect leads, "" without.
        location: String,
        /// The beginning of the body.
        text: String,
    },
    /// The server said why, in Pusher's words.
    #[error("closed with {code}: {message}")]
    Closed {
        /// Of the close frame, or of `pusher:error`.
        code: u16,
        /// The reason given.
        message: String,
    },
    /// It broke off, or speaks something else.
    #[error("the connection broke off: {0}")]
    Broken(String),
    /// Nothing came.
    #[error("nothing was heard for {} s", .0.as_secs_f32())]
    Silent(Duration),
}

fn of(server: &str) -> String {
    match server {
        "" => String::new(),
        server => format!(" by {server}"),
    }
}

/// A connection before the greeting.
pub(in crate::cli) struct Upgraded(WebSocketStream<Box<dyn Stream>>);

impl Socket {
    /// Connects and waits for the greeting.
    pub(in crate::cli) async fn connect(
        target: &Target,
        origin: Option<&str>,
        within: Duration,
    ) -> Result<Socket, Ended> {
        let deadline = Instant::now() + within;
        let upgraded = Socket::upgrade(target, origin, within).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        upgraded.greeted(left).await
    }

    /// The HTTP part alone.
    pub(in crate::cli) async fn upgrade(
        target: &Target,
        origin: Option<&str>,
        within: Duration,
    ) -> Result<Upgraded, Ended> {
        let stream = dial::dial(target, within).await?;
        let path = format!(
            "/app/{}?protocol=7&client=gema&version={}",
            target.app.key,
            env!("CARGO_PKG_VERSION")
        );
        let broken = |error: tungstenite::Error| Ended::Broken(error.to_string());
        let mut request = target
            .socket_url(&path)
            .into_client_request()
            .map_err(broken)?;
        if let Some(origin) = origin {
            let value = HeaderValue::from_str(origin);
            let value = value.map_err(|error| Ended::Broken(error.to_string()))?;
            request.headers_mut().insert(ORIGIN, value);
        }
        let mut config = WebSocketConfig::default();
        config.max_message_size = Some(MESSAGE);
        config.max_frame_size = Some(MESSAGE);
        let asking = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
        match timeout(within, asking).await {
            Err(_) => Err(Ended::Silent(within)),
            Ok(Ok((stream, _))) => Ok(Upgraded(stream)),
            Ok(Err(tungstenite::Error::Http(response))) => {
                let header = |name| {
                    let value = response.headers().get(name);
                    let text = value.and_then(|value: &HeaderValue| value.to_str().ok());
                    text.unwrap_or_default().to_owned()
                };
                let body = response.body().as_deref().unwrap_or_default();
                Err(Ended::NotUpgraded {
                    status: response.status().as_u16(),
                    server: header(SERVER),
                    location: header(LOCATION),
                    text: beginning(&String::from_utf8_lossy(body)),
                })
            }
            Ok(Err(error)) => Err(broken(error)),
        }
    }

    /// Asks for a channel; the answer is an event like others. `user` is who joins, if it is a presence channel.
    pub(in crate::cli) async fn subscribe(
        &mut self,
        app: &Credentials,
        channel: &str,
        user: &str,
    ) -> Result<(), Ended> {
        let mut data = json!({ "channel": channel });
        let presence = channel.starts_with("presence-");
        if presence || channel.starts_with("private-") {
            let member = json!({ "user_id": user, "user_info": { "name": user } }).to_string();
            let member = presence.then_some(member);
            let auth = sign_channel(&app.key, &app.secret, &self.id, channel, member.as_deref());
            data["auth"] = auth.into();
            if let Some(member) = member {
                data["channel_data"] = member.into();
            }
        }
        self.send(json!({ "event": "pusher:subscribe", "data": data }))
            .await
    }

    /// Leaves a channel.
    pub(in crate::cli) async fn unsubscribe(&mut self, channel: &str) -> Result<(), Ended> {
        let data = json!({ "channel": channel });
        self.send(json!({ "event": "pusher:unsubscribe", "data": data }))
            .await
    }

    /// Asks for a sign of life; the answer is an event like others.
    pub(in crate::cli) async fn ping(&mut self) -> Result<(), Ended> {
        self.send(json!({ "event": "pusher:ping", "data": {} }))
            .await
    }

    /// The next event. A silent server is asked for a sign of life, and given up without one. May be dropped and called
    /// again.
    pub(in crate::cli) async fn next(&mut self) -> Result<Event, Ended> {
        loop {
            let deadline = match self.pinged {
                None => self.heard + self.silence,
                Some(at) => at + PONG,
            };
            match receive(&mut self.stream, deadline).await {
                Ok(event) => {
                    self.heard = Instant::now();
                    self.pinged = None;
                    if event.event != "pusher:pong" {
                        return Ok(event);
                    }
                }
                Err(Ended::Silent(_)) if self.pinged.is_none() => {
                    self.pinged = Some(Instant::now());
                    self.ping().await?;
                }
                Err(Ended::Silent(_)) => return Err(Ended::Silent(self.heard.elapsed())),
                Err(ended) => return Err(ended),
            }
        }
    }

    /// The next event of any kind, if it comes in time.
    pub(in crate::cli) async fn within(&mut self, within: Duration) -> Result<Event, Ended> {
        receive(&mut self.stream, Instant::now() + within)
            .await
            .map_err(|ended| match ended {
                Ended::Silent(_) => Ended::Silent(within),
                other => other,
            })
    }

    /// The closing handshake, begun here; what the server says to it is not waited for.
    pub(in crate::cli) async fn close(mut self) {
        timeout(Duration::from_secs(1), self.stream.close(None))
            .await
            .ok();
    }

    async fn send(&mut self, message: Value) -> Result<(), Ended> {
        let sent = self.stream.send(Message::text(message.to_string())).await;
        sent.map_err(|error| Ended::Broken(error.to_string()))
    }
}

impl Upgraded {
    /// Waits for the greeting.
    pub(in crate::cli) async fn greeted(mut self, within: Duration) -> Result<Socket, Ended> {
        let event = receive(&mut self.0, Instant::now() + within).await;
        let event = event.map_err(|ended| match ended {
            Ended::Silent(_) => Ended::Silent(within),
            other => other,
        })?;
        let data = event.object();
        match (event.event.as_str(), data["socket_id"].as_str()) {
            ("pusher:connection_established", Some(id)) => Ok(Socket {
                id: id.to_owned(),
                silence: Duration::from_secs(data["activity_timeout"].as_u64().unwrap_or(120)),
                heard: Instant::now(),
                pinged: None,
                stream: self.0,
            }),
            ("pusher:error", _) => Err(Ended::Closed {
                code: data["code"].as_u64().unwrap_or(0) as u16,
                message: data["message"].as_str().unwrap_or_default().to_owned(),
            }),
            (other, _) => Err(Ended::Broken(format!("the greeting was \"{other}\""))),
        }
    }
}

impl Event {
    /// The data as JSON: what the text holds, or what stands there.
    pub(in crate::cli) fn object(&self) -> Value {
        match &self.data {
            Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| self.data.clone()),
            other => other.clone(),
        }
    }

    /// The data as the publisher wrote it.
    pub(in crate::cli) fn text(&self) -> String {
        match &self.data {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        }
    }
}

impl Ended {
    /// What to do about it, where there is something to do.
    pub(in crate::cli) fn cure(&self) -> String {
        match self {
            Ended::Dial(error) => error.cure(),
            Ended::NotUpgraded { .. } | Ended::Broken(_) | Ended::Silent(_) => {
                "gema doctor URL finds out why".to_owned()
            }
            Ended::Closed { code: 4001, .. } => {
                "name the key of an app that the server has, with --key or --config".to_owned()
            }
            Ended::Closed { code: 4003, .. } => "set enabled = true under its [[apps]]".to_owned(),
            Ended::Closed { code: 4005, .. } => {
                "gema does not serve this path; see server.path_prefix".to_owned()
            }
            Ended::Closed { code: 4004, .. } => {
                "raise max_connections under [[apps]] or [limits]".to_owned()
            }
            Ended::Closed { code: 4009, .. } => {
                "see allowed_origins and authorized_only_s under its [[apps]]".to_owned()
            }
            Ended::Closed { .. } => "try again; the server's log says more".to_owned(),
        }
    }
}

async fn receive(
    stream: &mut WebSocketStream<Box<dyn Stream>>,
    deadline: Instant,
) -> Result<Event, Ended> {
    loop {
        let message = timeout_at(deadline, stream.next()).await;
        match message.map_err(|_| Ended::Silent(Duration::ZERO))? {
            Some(Ok(Message::Text(text))) => return read(&text),
            Some(Ok(Message::Close(frame))) => {
                let (code, message) = frame.map_or((1005, String::new()), |frame| {
                    (frame.code.into(), frame.reason.to_string())
                });
                return Err(Ended::Closed { code, message });
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(Ended::Broken(error.to_string())),
            None => return Err(Ended::Broken("the stream ended".to_owned())),
        }
    }
}

fn read(text: &str) -> Result<Event, Ended> {
    let strange = || Ended::Broken(format!("not a Pusher message: {}", beginning(text)));
    let message: Value = serde_json::from_str(text).map_err(|_| strange())?;
    let field = |name: &str| message[name].as_str().map(str::to_owned);
    Ok(Event {
        event: field("event").ok_or_else(strange)?,
        channel: field("channel"),
        user_id: field("user_id"),
        data: message.get("data").cloned().unwrap_or_default(),
    })
}
