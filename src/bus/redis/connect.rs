//! One connection to one server: TCP, TLS, `HELLO`, and the signs of life of what comes in.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, Pipeline, ProtocolVersion, PushInfo};
use redis::{RedisConnectionInfo, RedisError, ServerError, Value};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::command::words;
use super::url::{Access, Address};

/// From the first packet to a connection that can be used.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Sharded publish and subscribe came with this version.
const SHARDED_SINCE: u32 = 7;

/// A connection. It lives as long as `driver` is polled, and `driver` ends when it is lost.
pub(super) struct Connection {
    pub commands: MultiplexedConnection,
    pub driver: BoxFuture<'static, ()>,
    pub pulse: Pulse,
    pub hello: Hello,
}

/// What the server says about itself.
#[derive(Debug)]
pub(super) struct Hello {
    pub mode: Mode,
    pub is_master: bool,
    major: u32,
}

/// `mode` in the answer to `HELLO`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mode {
    Standalone,
    Cluster,
    Sentinel,
}

/// When something was last heard.
#[derive(Clone, Debug)]
pub(super) struct Pulse {
    start: Instant,
    /// Milliseconds after `start`.
    heard: Arc<AtomicU64>,
}

/// Connects, with credentials; `on_push` is called for every push, and must not wait.
///
/// The error is in words for a log and `/ready`, and has no secrets.
pub(super) async fn connect(
    address: &Address,
    access: &Access,
    on_push: impl Fn(PushInfo) + Send + Sync + 'static,
) -> Result<Connection, String> {
    let connecting = async {
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await;
        let stream = stream.map_err(|error| error.to_string())?;
        // Small commands must not wait for the answers to earlier ones.
        stream
            .set_nodelay(true)
            .map_err(|error| error.to_string())?;
        // A connection that was given up must not speak later, after the one that follows it.
        SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .map_err(|error| error.to_string())?;
        match &access.tls {
            None => greet(stream, access, on_push).await,
            Some(tls) => {
                let stream = tls.connect(&address.host, stream).await;
                let stream = stream.map_err(|error| format!("TLS: {error}"))?;
                greet(stream, access, on_push).await
            }
        }
    };
    match timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(format!(
            "no connection within {} s",
            CONNECT_TIMEOUT.as_secs()
        )),
    }
}

async fn greet<S>(
    stream: S,
    access: &Access,
    on_push: impl Fn(PushInfo) + Send + Sync + 'static,
) -> Result<Connection, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut info = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP3)
        .set_skip_set_lib_name()
        .set_db(access.database);
    if let Some(user) = &access.user {
        info = info.set_username(user);
    }
    if let Some(password) = &access.password {
        info = info.set_password(password);
    }
    let config = AsyncConnectionConfig::new()
        // Time is ours to watch, by what is heard.
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_push_sender(move |push| {
            on_push(push);
            Ok::<(), redis::aio::SendError>(())
        });
    let pulse = Pulse::new();
    let stream = Listening {
        stream,
        pulse: pulse.clone(),
    };
    let (mut commands, driver) = MultiplexedConnection::new_with_config(&info, stream, config)
        .await
        .map_err(|error| describe(&error))?;
    let mut driver: BoxFuture<'static, ()> = Box::pin(driver);
    let hello = redis::cmd("HELLO").arg(3).to_owned();
    let answer = ask(&mut commands, &mut driver, &hello).await?;
    let hello = Hello::read(&answer)?;
    Ok(Connection {
        commands,
        driver,
        pulse,
        hello,
    })
}

/// Asks one thing of a connection that is not in use yet.
async fn ask(
    commands: &mut MultiplexedConnection,
    driver: &mut BoxFuture<'static, ()>,
    command: &Cmd,
) -> Result<Value, String> {
    let answer = tokio::select! {
        answer = commands.send_packed_command(command) => answer,
        () = driver => return Err(LOST.into()),
    };
    let answer = answer.and_then(Value::extract_error);
    answer.map_err(|error| describe(&error))
}

/// What a connection that ended by itself is called.
pub(super) const LOST: &str = "the connection was lost";

impl Connection {
    /// Asks one thing, while nothing else is under way.
    pub(super) async fn ask(&mut self, command: &Cmd) -> Result<Value, String> {
        match timeout(
            CONNECT_TIMEOUT,
            ask(&mut self.commands, &mut self.driver, command),
        )
        .await
        {
            Ok(answer) => answer,
            Err(_) => Err(silence(CONNECT_TIMEOUT)),
        }
    }

    /// Sends a pipeline and waits for all its replies, for as long as the server shows signs of life. Server errors
    /// are among the replies.
    pub(super) async fn exchange(
        &mut self,
        pipeline: &Pipeline,
        patience: Duration,
    ) -> Result<Vec<Value>, String> {
        let sent = Instant::now();
        let commands = &mut self.commands;
        let mut replies =
            std::pin::pin!(commands.send_packed_commands(pipeline, 0, pipeline.len()));
        loop {
            // Silence before there was anything to answer says nothing.
            let deadline = sent.max(self.pulse.last()) + patience;
            tokio::select! {
                biased;
                replies = &mut replies => return replies.map_err(|error| describe(&error)),
                () = &mut self.driver => return Err(LOST.into()),
                () = tokio::time::sleep_until(deadline.into()) => {
                    if sent.max(self.pulse.last()) + patience <= Instant::now() {
                        return Err(silence(patience));
                    }
                }
            }
        }
    }
}

fn silence(time: Duration) -> String {
    format!("no answer for {} s", time.as_secs())
}

impl Hello {
    fn read(answer: &Value) -> Result<Hello, String> {
        let entries = answer.as_map_iter().into_iter().flatten();
        let text = |value: &Value| match value {
            Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Value::SimpleString(text) => text.clone(),
            _ => String::new(),
        };
        let (mut mode, mut is_master, mut major) = (Mode::Standalone, true, 0);
        for (name, value) in entries {
            let value = text(value);
            match text(name).as_str() {
                "mode" if value == "cluster" => mode = Mode::Cluster,
                "mode" if value == "sentinel" => mode = Mode::Sentinel,
                "role" => is_master = value == "master",
                "version" => {
                    let number = value.split('.').next().unwrap_or_default();
                    major = number.parse().unwrap_or_default();
                }
                _ => {}
            }
        }
        Ok(Hello {
            mode,
            is_master,
            major,
        })
    }

    /// Refuses a server that cannot be written to, and a node of a cluster too old for its own publish and subscribe.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.mode {
            Mode::Sentinel => {
                Err("this is a sentinel; its address begins with redis+sentinel://".into())
            }
            Mode::Cluster if self.major < SHARDED_SINCE => Err(format!(
                "a Redis Cluster must be of version {SHARDED_SINCE} or newer, this is {}",
                self.major
            )),
            Mode::Cluster | Mode::Standalone if !self.is_master => {
                Err("this server is a replica, which cannot be written to".into())
            }
            Mode::Cluster | Mode::Standalone => Ok(()),
        }
    }
}

/// The error in words for a log and `/ready`; whatever a server says to a login, it does not repeat the password.
pub(super) fn describe(error: &RedisError) -> String {
    if let Ok(error) = ServerError::try_from(error.clone()) {
        return words(&error);
    }
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ if error.is_connection_dropped() => LOST.into(),
        _ => error.to_string(),
    }
}

impl Pulse {
    fn new() -> Pulse {
        Pulse {
            start: Instant::now(),
            heard: Arc::default(),
        }
    }

    /// When anything came in last; at first, when the connection was made.
    pub(super) fn last(&self) -> Instant {
        self.start + Duration::from_millis(self.heard.load(Ordering::Relaxed))
    }

    fn beat(&self) {
        let passed = self.start.elapsed().as_millis();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        self.heard.store(passed, Ordering::Relaxed);
    }
}

/// A stream that notes when something came in.
struct Listening<S> {
    stream: S,
    pulse: Pulse,
}

impl<S: AsyncRead + Unpin> AsyncRead for Listening<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        if result.is_ready() {
            self.pulse.beat();
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Listening<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("hello", &self.hello)
            .finish_non_exhaustive()
    }
}
