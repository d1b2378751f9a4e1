//! The ways into a server: Pusher's own, which every server here has, and gema's others. By those a client comes in as a
//! user with a token, and is joined to the channels that the server has for users.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

use crate::{client::Client, error::BenchError, target::App};

/// How long a token is good: longer than any scenario.
const VALID: Duration = Duration::from_secs(3_600);

/// Where a client comes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Door {
    /// `/app/KEY`, Pusher's protocol.
    #[default]
    Pusher,
    /// `/ws`, plain JSON.
    Plain,
    /// `/socket.io/`, by WebSocket.
    Socketio,
}

impl Door {
    /// Comes in by one of gema's own doors, and returns once the server has joined the client to its channels. Pusher's
    /// is [`Client::connect`].
    pub(crate) async fn enter(self, client: &mut Client, app: &App) -> Result<(), BenchError> {
        let token = token(&app.jwt_secret, client.index)?;
        match self {
            Self::Pusher => Ok(()),
            Self::Plain => {
                client.upgrade(app, &format!("/ws?token={token}")).await?;
                // It says nothing by itself; what it answers comes after it is in.
                client.send(r#"{"type":"ping"}"#).await?;
                let pong = |text: &str| Ok(text.contains(r#""type":"pong""#));
                client.wait_until("pong", 1, pong).await.map(drop)
            }
            Self::Socketio => {
                let path = "/socket.io/?EIO=4&transport=websocket";
                let early = client.upgrade(app, path).await?;
                // Engine.IO's first packet, then Socket.IO's connect, and its answer.
                if early.is_empty() {
                    let open = |text: &str| Ok(text.starts_with('0'));
                    client.wait_until("Engine.IO's open", 1, open).await?;
                }
                client
                    .send(&format!("40{}", json!({"token": token})))
                    .await?;
                let connected = |text: &str| match text.starts_with("44") {
                    true => Err(BenchError::Protocol(format!("Socket.IO refused: {text}"))),
                    false => Ok(text.starts_with("40")),
                };
                client
                    .wait_until("Socket.IO's connect", 1, connected)
                    .await
                    .map(drop)
            }
        }
    }
}

/// What says that a client is the user of that number.
fn token(secret: &str, user: usize) -> Result<String, BenchError> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let claims = json!({"sub": user.to_string(), "exp": (now + VALID).as_secs()});
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key)
        .map_err(|error| BenchError::Protocol(format!("no token can be made: {error}")))
}
