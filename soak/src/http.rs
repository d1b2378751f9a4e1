//! Requests over connections that are kept: signed calls of the API as a back end makes them, probes, figures.

use std::net::SocketAddrV4;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use gema_protocol::request::ApiRequest;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use tokio::time::timeout;

use crate::node::{APP, KEY, SECRET};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a connection is kept for the next request: shorter than gema keeps it.
const IDLE: Duration = Duration::from_secs(2);

/// Keeps connections.
pub(crate) type HttpClient = Client<HttpConnector, Full<Bytes>>;

/// A client of its own.
pub(crate) fn client() -> HttpClient {
    Client::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE)
        // Whether an event was taken twice is a question here.
        .retry_canceled_requests(false)
        .build_http()
}

/// Gives status and body, or why there are none.
pub(crate) async fn get(
    client: &HttpClient,
    address: SocketAddrV4,
    path: &str,
) -> Result<(u16, String), String> {
    send(client, "GET", format!("http://{address}{path}"), "").await
}

/// Publishes one event; gives the status and what was answered.
pub(crate) async fn publish(
    client: &HttpClient,
    address: SocketAddrV4,
    channel: &str,
    data: &str,
) -> Result<(u16, String), String> {
    let body = json!({ "name": "soak", "channel": channel, "data": data }).to_string();
    let path = format!("/apps/{APP}/events");
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH);
    let query = ApiRequest {
        method: "POST",
        path: &path,
        query: "",
        body: body.as_bytes(),
    }
    .sign(KEY, SECRET, now_s.map_or(0, |since| since.as_secs()));
    send(
        client,
        "POST",
        format!("http://{address}{path}?{query}"),
        &body,
    )
    .await
}

async fn send(
    client: &HttpClient,
    method: &str,
    url: String,
    body: &str,
) -> Result<(u16, String), String> {
    let request = Request::builder()
        .method(method)
        .uri(url)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
        .map_err(|error| error.to_string())?;
    let asking = async {
        let response = client.request(request).await.map_err(in_full)?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(in_full)?;
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Ok((status, text))
    };
    timeout(PATIENCE, asking)
        .await
        .unwrap_or_else(|_| Err("no answer".to_owned()))
}

/// An error with its causes, which its own words leave out.
fn in_full(error: impl std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words = format!("{words}: {error}");
        source = error.source();
    }
    words
}
