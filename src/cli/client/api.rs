//! The HTTP API of a running server, called as a back end calls it: signed with the app's secret.

use std::time::Duration;

use gema_protocol::request::ApiRequest;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::redirect::Policy;

use crate::cli::CommandError;
use crate::cli::target::{Credentials, Target};
use crate::clock;
use crate::outbound;

/// The most that is read of an answer: a list of all channels may be long, and what is no gema may send anything.
const ANSWER: usize = 16 * 1024 * 1024;

/// Calls one server.
pub(in crate::cli) struct Api {
    http: reqwest::Client,
    target: Target,
    /// The server's clock less ours, in seconds: signatures carry the time, and the server goes by its own.
    pub(in crate::cli) skew_s: i64,
}

/// An answer, read.
#[derive(Debug)]
pub(in crate::cli) struct Answer {
    pub(in crate::cli) status: u16,
    pub(in crate::cli) headers: HeaderMap,
    pub(in crate::cli) text: String,
}

/// No answer, or one that says no.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum ApiError {
    /// Nobody answered.
    #[error("{0}")]
    NoAnswer(String),
    /// Somebody else answered.
    #[error("the answer is {status} and no JSON, so this is no Pusher server: {text}")]
    Strange {
        /// HTTP's.
        status: u16,
        /// The beginning of the body.
        text: String,
    },
    /// The server refused.
    #[error("the server says {status}: {text}")]
    Refused {
        /// HTTP's.
        status: u16,
        /// Why.
        text: String,
    },
}

impl Api {
    /// Goes straight to the server, whatever HTTP_PROXY says, as the WebSocket does.
    pub(in crate::cli) fn new(target: &Target, within: Duration) -> Result<Api, CommandError> {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(target.trust.config())
            .no_proxy()
            .redirect(Policy::none())
            .timeout(within)
            .user_agent(concat!("gema/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| CommandError::Failed(outbound::reason(error)))?;
        Ok(Api {
            http,
            target: target.clone(),
            skew_s: 0,
        })
    }

    /// A request without a signature. `url` is a whole one.
    pub(in crate::cli) async fn plain(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: String,
    ) -> Result<Answer, ApiError> {
        let request = self.http.request(method, url).headers(headers).body(body);
        let no_answer = |error: reqwest::Error| ApiError::NoAnswer(outbound::reason(error));
        let mut response = request.send().await.map_err(no_answer)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > ANSWER {
                return Err(ApiError::NoAnswer(format!(
                    "the answer is longer than {ANSWER} bytes"
                )));
            }
        }
        Ok(Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: String::from_utf8_lossy(&bytes).into_owned(),
        })
    }

    /// `GET` of a path below the app's, with a query.
    pub(in crate::cli) async fn get(
        &self,
        app: &Credentials,
        path: &str,
        query: &str,
    ) -> Result<Answer, ApiError> {
        self.signed(Method::GET, app, path, query, String::new())
            .await
    }

    /// `POST` of JSON to a path below the app's.
    pub(in crate::cli) async fn post(
        &self,
        app: &Credentials,
        path: &str,
        body: String,
    ) -> Result<Answer, ApiError> {
        self.signed(Method::POST, app, path, "", body).await
    }

    async fn signed(
        &self,
        method: Method,
        app: &Credentials,
        path: &str,
        query: &str,
        body: String,
    ) -> Result<Answer, ApiError> {
        let path = format!("/apps/{}{path}", app.id);
        let request = ApiRequest {
            method: method.as_str(),
            // Without a prefix: a proxy may take it away, and gema knows both ways.
            path: &path,
            query,
            body: body.as_bytes(),
        };
        let now_s = clock::unix_s().saturating_add_signed(self.skew_s);
        let query = request.sign(&app.key, &app.secret, now_s);
        let url = self.target.url(&format!("{path}?{query}"));
        let mut headers = HeaderMap::new();
        if method == Method::POST {
            let json = reqwest::header::HeaderValue::from_static("application/json");
            headers.insert(CONTENT_TYPE, json);
        }
        self.plain(method, &url, headers, body).await
    }
}

impl Answer {
    /// The answer of the signed API if it is a good one: JSON, which a web page with 200 is not.
    pub(in crate::cli) fn good(self) -> Result<Answer, ApiError> {
        match self.status {
            200..300 if self.text.starts_with('{') => Ok(self),
            status @ 200..300 => Err(ApiError::Strange {
                status,
                text: self.beginning(),
            }),
            status => {
                // What follows tells a developer what to sign, and is of no use to whoever reads this.
                let text = self.beginning();
                let end = text.find(": you should have sent").unwrap_or(text.len());
                Err(ApiError::Refused {
                    status,
                    text: text[..end].to_owned(),
                })
            }
        }
    }

    /// A header's text, "" without.
    pub(in crate::cli) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// Whether it is a web page, which no part of gema's API is.
    pub(in crate::cli) fn is_page(&self) -> bool {
        self.header("content-type").starts_with("text/html")
    }

    /// The first of the text, on one line: enough to know who wrote it.
    pub(in crate::cli) fn beginning(&self) -> String {
        beginning(&self.text)
    }
}

/// The first 300 characters, on one line.
pub(in crate::cli) fn beginning(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(300) {
        Some((end, _)) => format!("{} ...", &line[..end]),
        None => line,
    }
}

impl ApiError {
    /// What to do about a refusal, where there is something better to say than to try again.
    pub(in crate::cli) fn cure(&self) -> Option<&'static str> {
        let (status, text) = match self {
            ApiError::Refused { status, text } => (status, text),
            ApiError::Strange { .. } => return Some("name the server with --url"),
            ApiError::NoAnswer(_) => {
                return Some(
                    "start the server (gema serve), or say where it is with --url; gema doctor URL finds out more",
                );
            }
        };
        match status {
            401 if text.contains("Timestamp") => {
                Some("this machine's clock and the server's differ; set them by NTP")
            }
            401 => {
                Some("name the app that the server has, with --app, --key and --secret or --config")
            }
            404 if text.starts_with("Unknown app") => {
                Some("name the app that the server has, with --app, --key and --secret or --config")
            }
            404 => Some("this may be no gema, or gema under a path: https://example.com/realtime"),
            _ => None,
        }
    }
}
