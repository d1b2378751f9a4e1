//! A back end that webhooks post to: a real HTTP server that answers, fails, stalls or hangs up as the test says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::DEADLINE;

/// How the receiver treats a request, once it has read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treat {
    Answer(u16),
    /// Answers that the request should go elsewhere.
    Redirect,
    /// Never answers.
    Stall,
    /// Ends the connection with a TCP reset.
    Reset,
}

pub const OK: Treat = Treat::Answer(200);

/// A request as it came, and what was done to it.
#[derive(Clone, Debug)]
pub struct Hit {
    pub path: String,
    /// By lower-case name.
    pub headers: HashMap<String, String>,
    pub body: String,
    pub treated: Treat,
    /// Whether the answer, if there was to be one, has been written.
    pub answered: bool,
}

impl Hit {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    /// Whether it was answered with 2xx.
    pub fn is_taken(&self) -> bool {
        self.answered && matches!(self.treated, Treat::Answer(200..300))
    }

    /// The event objects in it.
    pub fn events(&self) -> Vec<Value> {
        self.json()["events"].as_array().expect("a list").clone()
    }
}

type Script = Arc<Mutex<dyn FnMut(&Value) -> Treat + Send>>;

/// A receiver that is down: it has its address, and connections to it are refused.
pub struct Down {
    socket: TcpSocket,
}

impl Down {
    pub fn new() -> Down {
        let socket = TcpSocket::new_v4().expect("a socket");
        let any = "127.0.0.1:0".parse().expect("an address");
        socket.bind(any).expect("a free port");
        Down { socket }
    }

    pub fn url(&self) -> String {
        url(self.socket.local_addr().expect("an address"))
    }

    /// Starts it, to treat each request as `script` says of its body.
    pub fn up(self, script: impl FnMut(&Value) -> Treat + Send + 'static) -> Receiver {
        Receiver::on(self.socket.listen(128).expect("a listener"), script)
    }
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}/hook")
}

/// The receiver.
pub struct Receiver {
    address: SocketAddr,
    hits: Arc<Mutex<Vec<Hit>>>,
    changed: watch::Receiver<usize>,
    _running: JoinSet<()>,
}

impl Receiver {
    pub fn start() -> Receiver {
        Receiver::that(|_| OK)
    }

    /// One that treats each request as `script` says of its body.
    pub fn that(script: impl FnMut(&Value) -> Treat + Send + 'static) -> Receiver {
        Down::new().up(script)
    }

    fn on(listener: TcpListener, script: impl FnMut(&Value) -> Treat + Send + 'static) -> Receiver {
        let address = listener.local_addr().expect("an address");
        let hits = Arc::new(Mutex::new(Vec::new()));
        let (change, changed) = watch::channel(0);
        let script: Script = Arc::new(Mutex::new(script));
        let mut running = JoinSet::new();
        let all = hits.clone();
        running.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, script.clone(), all.clone(), change.clone()));
            }
        });
        Receiver {
            address,
            hits,
            changed,
            _running: running,
        }
    }

    pub fn url(&self) -> String {
        url(self.address)
    }

    /// All requests so far, in the order they were read.
    pub fn hits(&self) -> Vec<Hit> {
        self.hits.lock().expect("no panic").clone()
    }

    /// The events of all requests that were answered with 2xx.
    pub fn taken(&self) -> Vec<Value> {
        let hits = self.hits();
        let taken = hits.iter().filter(|hit| hit.is_taken());
        taken.flat_map(Hit::events).collect()
    }

    /// Waits until the requests so far are as wanted.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&Receiver) -> bool) {
        let mut changed = self.changed.clone();
        let waiting = async {
            while !wanted(self) {
                changed.changed().await.expect("the receiver runs");
            }
        };
        if timeout(DEADLINE, waiting).await.is_err() {
            panic!("no {what}: {:#?}", self.hits());
        }
    }

    /// Waits until this many events were taken.
    pub async fn has_taken(&mut self, count: usize) -> Vec<Value> {
        self.until("such number of events", |receiver| {
            receiver.taken().len() >= count
        })
        .await;
        self.taken()
    }

    /// All events that were taken once `time` has passed, in which those that nobody should send would come.
    pub async fn taken_after(&self, time: Duration) -> Vec<Value> {
        sleep(time).await;
        self.taken()
    }
}

async fn serve(
    mut stream: TcpStream,
    script: Script,
    hits: Arc<Mutex<Vec<Hit>>>,
    change: watch::Sender<usize>,
) {
    while let Some(mut hit) = read(&mut stream).await {
        let treated = (script.lock().expect("no panic"))(&hit.json());
        hit.treated = treated;
        let answer = match treated {
            Treat::Answer(204) => "HTTP/1.1 204 Said\r\n\r\n".to_owned(),
            Treat::Answer(status) => {
                format!("HTTP/1.1 {status} Said\r\ncontent-length: 2\r\n\r\nok")
            }
            Treat::Redirect => {
                let head = "HTTP/1.1 307 Elsewhere\r\ncontent-length: 0\r\nlocation: /other";
                format!("{head}\r\n\r\n")
            }
            Treat::Stall | Treat::Reset => String::new(),
        };
        let index = {
            let mut hits = hits.lock().expect("no panic");
            hits.push(hit);
            hits.len() - 1
        };
        change.send_modify(|count| *count += 1);
        match treated {
            Treat::Stall => std::future::pending().await,
            Treat::Reset => {
                let socket = SockRef::from(&stream);
                socket.set_linger(Some(Duration::ZERO)).expect("lingering");
                return;
            }
            _ => {}
        }
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        hits.lock().expect("no panic")[index].answered = true;
        change.send_modify(|count| *count += 1);
    }
}

/// The next request on the connection, `None` at its end.
async fn read(stream: &mut TcpStream) -> Option<Hit> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).expect("a head");
    let mut lines = head.lines();
    let request = lines.next().expect("a request line");
    assert!(request.starts_with("POST "), "{request}");
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers["content-length"].parse().expect("a length");
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(Hit {
        path: request.split(' ').nth(1).expect("a path").to_owned(),
        headers,
        body: String::from_utf8(bytes[end..end + length].to_vec()).expect("a body"),
        treated: OK,
        answered: false,
    })
}
