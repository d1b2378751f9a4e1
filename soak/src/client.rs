//! A client of the Pusher protocol, as much of one as the soak needs.

use std::fmt;
use std::net::SocketAddrV4;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use gema_protocol::auth::{sign_channel, sign_user};
use serde_json::{Value, json};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::node::{KEY, SECRET};

/// How long an answer may take before it counts as missing. Everything here shares a few cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A connection that was greeted.
#[derive(Debug)]
pub(crate) struct Client {
    stream: WebSocketStream<TcpStream>,
    pub(crate) socket_id: String,
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The server's close code.
    code: Option<u16>,
    why: String,
}

/// How to go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leaving {
    /// With the closing handshake.
    Politely,
    /// The socket is closed without a word.
    Silently,
    /// With a TCP reset.
    Reset,
}

impl Client {
    /// Connects and takes the greeting.
    pub(crate) async fn connect(address: SocketAddrV4) -> Result<Client, Ended> {
        let opening = async {
            let tcp = TcpStream::connect(address).await.map_err(Ended::by)?;
            tcp.set_nodelay(true).map_err(Ended::by)?;
            let url = format!("ws://{address}/app/{KEY}?protocol=7&client=soak");
            let upgraded = tokio_tungstenite::client_async(url, tcp).await;
            let (stream, _) = upgraded.map_err(Ended::by)?;
            let mut client = Client {
                stream,
                socket_id: String::new(),
            };
            let hello = client.next().await?;
            let id = hello["data"].as_str().and_then(|data| {
                let data: Value = serde_json::from_str(data).ok()?;
                Some(data["socket_id"].as_str()?.to_owned())
            });
            client.socket_id = id.ok_or_else(|| Ended::by(format!("greeted by {hello}")))?;
            Ok(client)
        };
        timeout(PATIENCE, opening)
            .await
            .unwrap_or_else(|_| Err(Ended::by("no greeting")))
    }

    /// The next event. Pings are answered on the way.
    pub(crate) async fn next(&mut self) -> Result<Value, Ended> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => {
                    return serde_json::from_str(&text).map_err(Ended::by);
                }
                Some(Ok(Message::Close(frame))) => {
                    return Err(Ended {
                        code: frame.as_ref().map(|frame| frame.code.into()),
                        why: frame.map_or_else(String::new, |frame| frame.reason.to_string()),
                    });
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(Ended::by(error)),
                None => return Err(Ended::by("the end of the stream")),
            }
        }
    }

    /// Sends one message.
    pub(crate) async fn send(&mut self, message: &Value) -> Result<(), Ended> {
        let sending = self.stream.send(Message::text(message.to_string()));
        match timeout(PATIENCE, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Ended::by(error)),
            Err(_) => Err(Ended::by("the server does not read")),
        }
    }

    /// Asks for a subscription; the answer comes as an event. A presence channel is joined as `user`.
    pub(crate) async fn ask_to_subscribe(
        &mut self,
        channel: &str,
        user: &str,
    ) -> Result<(), Ended> {
        let member = channel
            .starts_with("presence-")
            .then(|| json!({ "user_id": user, "user_info": { "name": user } }).to_string());
        let auth = match channel.starts_with("private-") || member.is_some() {
            true => sign_channel(KEY, SECRET, &self.socket_id, channel, member.as_deref()),
            false => String::new(),
        };
        let data = json!({ "channel": channel, "auth": auth, "channel_data": member });
        self.send(&json!({ "event": "pusher:subscribe", "data": data }))
            .await
    }

    /// Ends a subscription.
    pub(crate) async fn unsubscribe(&mut self, channel: &str) -> Result<(), Ended> {
        let data = json!({ "channel": channel });
        self.send(&json!({ "event": "pusher:unsubscribe", "data": data }))
            .await
    }

    /// Asks to be signed in; the answer comes as an event.
    pub(crate) async fn ask_to_sign_in(&mut self, user: &str) -> Result<(), Ended> {
        let user_data = json!({ "id": user }).to_string();
        let auth = sign_user(KEY, SECRET, &self.socket_id, &user_data);
        let data = json!({ "auth": auth, "user_data": user_data });
        self.send(&json!({ "event": "pusher:signin", "data": data }))
            .await
    }

    /// Goes. A server that does not say goodbye in time is left alone.
    pub(crate) async fn leave(mut self, how: Leaving) {
        match how {
            Leaving::Politely => {
                let saying = async {
                    if self.stream.close(None).await.is_ok() {
                        while let Some(Ok(_)) = self.stream.next().await {}
                    }
                };
                timeout(PATIENCE, saying).await.ok();
            }
            Leaving::Silently => {}
            Leaving::Reset => {
                // A socket that is gone already cannot be reset.
                SockRef::from(self.stream.get_ref())
                    .set_linger(Some(Duration::ZERO))
                    .ok();
            }
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "closed with {code}: {}", self.why),
            None => write!(f, "{}", self.why),
        }
    }
}

impl Ended {
    fn by(why: impl ToString) -> Ended {
        Ended {
            code: None,
            why: why.to_string(),
        }
    }
}
