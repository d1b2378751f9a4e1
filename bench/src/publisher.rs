//! Publishers: the signed HTTP trigger API over one keep-alive connection, and the floor's control line.

use std::{
    net::SocketAddrV4,
    rc::Rc,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use gema_protocol::{request::ApiRequest, server};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Builder,
    sync::{Mutex, mpsc, oneshot},
    task::{JoinSet, LocalSet},
    time::timeout,
};

use crate::{
    error::BenchError,
    target::{App, Target},
    wire::Wire,
};

/// How long a reply may take.
const REPLY: Duration = Duration::from_secs(10);
/// More bytes than a reply to a trigger has.
const LONGEST_REPLY: usize = 64 * 1024;
/// Name of every event the bench publishes.
const EVENT: &str = "bench";

/// One source of ordered publishes.
#[derive(Debug)]
pub(crate) enum Publisher {
    /// The trigger API of a Pusher-protocol server, on the publishing thread.
    Http(mpsc::Sender<Job>),
    /// The control line of the floor, shared by all publishers.
    Floor(Rc<Mutex<TcpStream>>),
}

impl Publisher {
    /// Connects `count` publishers. On the floor this must happen before any subscriber connects.
    pub(crate) async fn open(target: &Target, count: u16) -> Result<Vec<Self>, BenchError> {
        let mut publishers = Vec::new();
        match target {
            Target::Pusher(app) => {
                let (opened, senders) = oneshot::channel();
                let app = app.clone();
                thread::spawn(move || publishing_thread(&app, count, opened));
                let senders = senders.await.map_err(|_| thread_ended())??;
                publishers.extend(senders.into_iter().map(Self::Http));
            }
            Target::Floor(address) => {
                let control = Rc::new(Mutex::new(connect(*address).await?));
                publishers.resize_with(usize::from(count), || Self::Floor(control.clone()));
            }
        }
        Ok(publishers)
    }

    /// Tells the floor how many subscribers to accept; other servers know by themselves.
    pub(crate) async fn announce(&self, subscribers: usize) -> Result<(), BenchError> {
        let Self::Floor(control) = self else {
            return Ok(());
        };
        let command = format!("accept {subscribers}\n");
        write(&mut *control.lock().await, command.as_bytes()).await
    }

    /// Waits until the floor has accepted all it was told to.
    pub(crate) async fn announced(&self) -> Result<(), BenchError> {
        let Self::Floor(control) = self else {
            return Ok(());
        };
        let mut answer = [0; 3];
        let mut control = control.lock().await;
        timeout(REPLY, control.read_exact(&mut answer))
            .await
            .map_err(|_| deadline("accepting on the floor"))?
            .map_err(BenchError::io("reading the floor's answer"))?;
        match &answer {
            b"ok\n" => Ok(()),
            _ => Err(BenchError::Protocol(format!("the floor said {answer:?}"))),
        }
    }

    /// Publishes `data` to `channel` and gives the time that took since it was due. HTTP: until the 200. Floor: until
    /// the command is written.
    pub(crate) async fn publish(
        &mut self,
        channel: &Arc<str>,
        data: String,
        due: Instant,
    ) -> Result<Duration, BenchError> {
        let late = due.elapsed();
        match self {
            Self::Http(jobs) => {
                let (done, took) = oneshot::channel();
                let job = Job {
                    channel: channel.clone(),
                    data,
                    done,
                };
                jobs.send(job).await.map_err(|_| thread_ended())?;
                Ok(late + took.await.map_err(|_| thread_ended())??)
            }
            Self::Floor(control) => {
                // The very bytes a Pusher server would send, made here so that the floor makes nothing.
                let frame = server::event(channel, EVENT, &data);
                let mut command = format!("publish {}\n", frame.len()).into_bytes();
                command.extend_from_slice(frame.bytes());
                let sent = Instant::now();
                write(&mut *control.lock().await, &command).await?;
                Ok(late + sent.elapsed())
            }
        }
    }
}

/// One publish for the publishing thread.
#[derive(Debug)]
pub(crate) struct Job {
    channel: Arc<str>,
    data: String,
    done: oneshot::Sender<Result<Duration, BenchError>>,
}

/// Publishes on behalf of the driver until the senders are gone.
///
/// A thread of its own, because the driver is busy reading just when a reply comes: timed there, the 200 took 5 ms
/// with 1,000 subscribers where another process saw 0.3 ms.
fn publishing_thread(
    app: &App,
    count: u16,
    opened: oneshot::Sender<Result<Vec<mpsc::Sender<Job>>, BenchError>>,
) {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = match runtime.map_err(BenchError::io("starting the publishing thread")) {
        Ok(runtime) => runtime,
        Err(error) => {
            // The driver waits for this; if it does not any more, there is nobody to tell.
            let _ = opened.send(Err(error));
            return;
        }
    };
    let publishing = async {
        let mut loops = JoinSet::new();
        let mut senders = Vec::new();
        for _ in 0..count {
            let publisher = match HttpPublisher::open(app.clone()).await {
                Ok(publisher) => publisher,
                Err(error) => {
                    let _ = opened.send(Err(error));
                    return;
                }
            };
            let (sender, jobs) = mpsc::channel(1);
            senders.push(sender);
            loops.spawn_local(work(publisher, jobs));
        }
        let _ = opened.send(Ok(senders));
        loops.join_all().await;
    };
    runtime.block_on(LocalSet::new().run_until(publishing));
}

async fn work(mut publisher: HttpPublisher, mut jobs: mpsc::Receiver<Job>) {
    while let Some(job) = jobs.recv().await {
        let sent = Instant::now();
        let result = publisher.publish(&job.channel, &job.data).await;
        // Without a receiver the scenario was stopped, and the channel ends next.
        let _ = job.done.send(result.map(|()| sent.elapsed()));
    }
}

fn thread_ended() -> BenchError {
    BenchError::Protocol("the publishing thread ended".to_owned())
}

/// A client of the trigger API that sends one request at a time on one connection.
#[derive(Debug)]
pub(crate) struct HttpPublisher {
    app: App,
    path: String,
    wire: Wire,
    /// What has arrived of the reply; empty between requests.
    received: Vec<u8>,
    /// Connections made after the first, because the server closed one.
    pub(crate) reconnects: u64,
}

impl HttpPublisher {
    /// Connects to the app's server.
    pub(crate) async fn open(app: App) -> Result<Self, BenchError> {
        Ok(Self {
            wire: wire(&app).await?,
            path: format!("/apps/{}/events", app.id),
            app,
            received: Vec::new(),
            reconnects: 0,
        })
    }

    /// Triggers one event on one channel; an answer other than 200 is an error.
    pub(crate) async fn publish(&mut self, channel: &str, data: &str) -> Result<(), BenchError> {
        self.publish_to(&[channel], data).await
    }

    /// Triggers one event on several channels; an answer other than 200 is an error.
    pub(crate) async fn publish_to(
        &mut self,
        channels: &[&str],
        data: &str,
    ) -> Result<(), BenchError> {
        let body = json!({"name": EVENT, "channels": channels, "data": data}).to_string();
        let now_s = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let query = ApiRequest {
            method: "POST",
            path: &self.path,
            query: "",
            body: body.as_bytes(),
        }
        .sign(&self.app.key, &self.app.secret, now_s);
        let request = format!(
            "POST {}?{query} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.path,
            self.app.address,
            body.len()
        );
        let io = BenchError::io("writing a publish");
        self.wire.write_all(request.as_bytes()).await.map_err(io)?;
        let reply = timeout(REPLY, self.reply())
            .await
            .map_err(|_| deadline("the reply of the trigger API"))??;
        self.received.clear();
        if !reply.keep_alive {
            self.wire = wire(&self.app).await?;
            self.reconnects += 1;
        }
        if reply.status == 200 {
            return Ok(());
        }
        Err(BenchError::Refused {
            status: reply.status,
            body: reply.body,
        })
    }

    async fn reply(&mut self) -> Result<Reply, BenchError> {
        loop {
            if let Some(reply) = Reply::parse(&self.received)? {
                return Ok(reply);
            }
            let io = BenchError::io("reading the reply of the trigger API");
            let read = self.wire.read_some(&mut self.received).await.map_err(io)?;
            if read == 0 || self.received.len() > LONGEST_REPLY {
                let text = String::from_utf8_lossy(&self.received).into_owned();
                return Err(BenchError::Protocol(format!("not a whole reply: {text:?}")));
            }
        }
    }
}

/// A complete HTTP/1.1 reply.
#[derive(Debug, PartialEq, Eq)]
struct Reply {
    status: u16,
    keep_alive: bool,
    body: String,
}

impl Reply {
    /// Reads a reply with a Content-Length or in chunks; `None` while it is not complete.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, BenchError> {
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = String::from_utf8_lossy(&bytes[..end]);
        let wrong = |what: &str| BenchError::Protocol(format!("{what} in the reply: {head}"));
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1.1 "))
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .ok_or_else(|| wrong("no HTTP/1.1 status"))?;
        let (mut length, mut keep_alive, mut chunked) = (None, true, false);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().ok();
            } else if name.eq_ignore_ascii_case("connection") {
                keep_alive = !value.trim().eq_ignore_ascii_case("close");
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = value.trim().eq_ignore_ascii_case("chunked");
            }
        }
        let body = &bytes[end + 4..];
        if chunked {
            // One request at a time: nothing can follow the last chunk, so its end is the reply's.
            let complete = body == b"0\r\n\r\n" || body.ends_with(b"\r\n0\r\n\r\n");
            return Ok(complete.then(|| Self {
                status,
                keep_alive,
                body: String::from_utf8_lossy(body).into_owned(),
            }));
        }
        let length: usize = length.ok_or_else(|| wrong("no Content-Length"))?;
        if body.len() < length {
            return Ok(None);
        }
        Ok(Some(Self {
            status,
            keep_alive,
            body: String::from_utf8_lossy(&body[..length]).into_owned(),
        }))
    }
}

async fn wire(app: &App) -> Result<Wire, BenchError> {
    let io = BenchError::io("connecting a publisher");
    let wire = Wire::open(app.address, app.tls.as_ref(), 0, None);
    wire.await.map_err(io)
}

async fn connect(address: SocketAddrV4) -> Result<TcpStream, BenchError> {
    let io = BenchError::io("connecting a publisher");
    let stream = TcpStream::connect(address).await.map_err(io)?;
    let io = BenchError::io("setting TCP_NODELAY");
    stream.set_nodelay(true).map_err(io)?;
    Ok(stream)
}

async fn write(stream: &mut TcpStream, bytes: &[u8]) -> Result<(), BenchError> {
    let io = BenchError::io("writing a publish");
    stream.write_all(bytes).await.map_err(io)
}

fn deadline(what: &'static str) -> BenchError {
    BenchError::Deadline {
        what,
        seconds: REPLY.as_secs(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_complete_only_with_its_whole_body() {
        let text = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX: y\r\n\r\n{}";
        for cut in 0..text.len() {
            assert_eq!(Reply::parse(&text[..cut]).unwrap(), None, "{cut}");
        }
        let reply = Reply::parse(text).unwrap().unwrap();
        assert_eq!((reply.status, reply.keep_alive), (200, true));
        assert_eq!(reply.body, "{}");
    }

    #[test]
    fn a_server_that_closes_after_each_reply_is_noticed() {
        let text = b"HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        let reply = Reply::parse(text).unwrap().unwrap();
        assert_eq!((reply.status, reply.keep_alive), (401, false));
    }

    #[test]
    fn a_reply_in_chunks_is_complete_with_its_last_chunk() {
        let text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
        for cut in 0..text.len() {
            assert_eq!(Reply::parse(&text[..cut]).unwrap(), None, "{cut}");
        }
        assert_eq!(Reply::parse(text).unwrap().unwrap().status, 200);
    }

    #[test]
    fn replies_this_client_cannot_delimit_are_errors() {
        assert!(Reply::parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n").is_err());
        assert!(Reply::parse(b"SSH-2.0\r\n\r\n").is_err());
    }
}
