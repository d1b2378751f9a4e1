//! `/api/chats`: what a user's page reads of the chat, and marking a message as read. Sending is not among it: that is
//! for the doors, where the answer and the events come by one way.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::HeaderMap;
use serde::Serialize;
use serde_json::json;
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Rejection};

use super::broadcasting::bearer;
use super::{Call, Context, Shared, json, method};
use crate::auth::TokenError;
use crate::chat::{Chat, ChatError, Message, Page, Profile};
use crate::clock;

pub(super) fn routes(shared: Shared) -> BoxedFilter<(Response,)> {
    let call = warp::header::headers_cloned()
        .and(warp::ext::get::<Call>())
        .and(shared);
    let get = method::get().and(call.clone());
    let recent = warp::path!("api" / "chats")
        .and(get.clone())
        .and_then(|headers, call, context| answer(headers, call, context, recent));
    let unread = warp::path!("api" / "chats" / "unread")
        .and(get.clone())
        .and_then(|headers, call, context| answer(headers, call, context, unread));
    let history = warp::path!("api" / "chats" / "history" / String)
        .and(get)
        .and_then(|other: String, headers, call, context| {
            answer(headers, call, context, async move |chat, me, call| {
                history(chat, me, call, &other).await
            })
        });
    let read = warp::path!("api" / "chats" / String / "read")
        .and(method::patch())
        .and(call)
        .and_then(|message: String, headers, call, context| {
            answer(headers, call, context, async move |chat, me, _| {
                chat.mark_read(me, id("message_id", &message)?).await?;
                Ok(json(StatusCode::OK, &json!({ "success": true })))
            })
        });
    let lists = recent.or(unread).unify().or(history).unify();
    lists.or(read).unify().boxed()
}

/// Why a call is refused.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("The chat is switched off (chat.enabled)")]
    Off,
    #[error("Send the user's token in the header 'Authorization: Bearer …'")]
    NoToken,
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("Invalid {name}: '{given}' is no integer")]
    NotAnId { name: &'static str, given: String },
    #[error(transparent)]
    Chat(#[from] ChatError),
}

/// What a list of unread messages says of one: that it is not read goes without saying.
#[derive(Serialize)]
struct Unread<'a> {
    id: i64,
    sender_id: i64,
    receiver_id: i64,
    content: &'a str,
    created_at: String,
}

async fn answer<F>(
    headers: HeaderMap,
    call: Call,
    context: Arc<Context>,
    act: F,
) -> Result<Response, Rejection>
where
    F: AsyncFnOnce(&Chat, i64, &Call) -> Result<Response, Refused>,
{
    let result = async {
        let chat = context.gateway.chat.as_ref().ok_or(Refused::Off)?;
        let token = bearer(&headers).ok_or(Refused::NoToken)?;
        let identity = context.authorizer.authenticate(token).await?;
        let me = Profile::of(&identity)?.user_id;
        act(chat, me, &call).await
    };
    Ok(result.await.unwrap_or_else(|refused| refused.response()))
}

async fn recent(chat: &Chat, me: i64, call: &Call) -> Result<Response, Refused> {
    Ok(list(&chat.recent(me, page(call)?).await?))
}

async fn unread(chat: &Chat, me: i64, call: &Call) -> Result<Response, Refused> {
    let messages = chat.unread(me, page(call)?).await?;
    let list_of = |message| Unread::of(message);
    Ok(list(&messages.iter().map(list_of).collect::<Vec<_>>()))
}

async fn history(chat: &Chat, me: i64, call: &Call, other: &str) -> Result<Response, Refused> {
    let other = id("user_id", other)?;
    Ok(list(&chat.history(me, other, page(call)?).await?))
}

/// `limit` and `before` of the query; parameters nobody knows are ignored.
fn page(call: &Call) -> Result<Page, Refused> {
    let (mut limit, mut before) = (None, None);
    let query = call.uri.query().unwrap_or_default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "limit" => limit = Some(id("limit", &value)?),
            "before" => before = Some(id("before", &value)?),
            _ => {}
        }
    }
    let most = i64::from(u32::MAX);
    Ok(Page::new(
        limit.map(|limit| limit.clamp(0, most) as u32),
        before,
    ))
}

fn id(name: &'static str, given: &str) -> Result<i64, Refused> {
    let not = |_| Refused::NotAnId {
        name,
        given: given.to_owned(),
    };
    given.parse().map_err(not)
}

fn list(data: &[impl Serialize]) -> Response {
    #[derive(Serialize)]
    struct List<'a, T> {
        success: bool,
        data: &'a [T],
    }
    let success = true;
    json(StatusCode::OK, &List { success, data })
}

impl Unread<'_> {
    fn of(message: &Message) -> Unread<'_> {
        Unread {
            id: message.id,
            sender_id: message.sender_id,
            receiver_id: message.receiver_id,
            content: &message.content,
            created_at: clock::rfc3339(message.created_at_ms),
        }
    }
}

impl Refused {
    fn response(&self) -> Response {
        let status = match self {
            Refused::NoToken => StatusCode::UNAUTHORIZED,
            Refused::Token(error) if error.is_ours() => StatusCode::SERVICE_UNAVAILABLE,
            Refused::Token(_) => StatusCode::UNAUTHORIZED,
            Refused::Off | Refused::Chat(ChatError::NoSuchMessage) => StatusCode::NOT_FOUND,
            Refused::Chat(ChatError::NotYours | ChatError::UserId(_)) => StatusCode::FORBIDDEN,
            Refused::Chat(ChatError::Away(_)) => StatusCode::SERVICE_UNAVAILABLE,
            Refused::NotAnId { .. } | Refused::Chat(_) => StatusCode::BAD_REQUEST,
        };
        let body = json!({ "success": false, "error": self.to_string() });
        json(status, &body)
    }
}
