//! `POST /apps/{id}/users/{user}/terminate_connections`: a back end sends a user away.
//! Rules: <https://pusher.com/docs/channels/server_api/terminating-user-connections/>.

use std::sync::Arc;

use futures_util::Stream;
use hyper::{Method, StatusCode};
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Rejection};

use super::api::{ApiError, Signed, answer, segment};
use super::{Call, Context, Shared, body, json, method};

pub(super) fn routes(shared: Shared) -> BoxedFilter<(Response,)> {
    warp::path!("apps" / String / "users" / String / "terminate_connections")
        .and(method::post())
        .and(warp::ext::get::<Call>())
        .and(warp::body::stream())
        .and(shared)
        .and_then(terminate)
        .boxed()
}

/// Also 200 for a user nobody knows: whoever asks wants them gone, and they are.
async fn terminate<S, B>(
    app: String,
    user: String,
    call: Call,
    stream: S,
    context: Arc<Context>,
) -> Result<Response, Rejection>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: bytes::Buf,
{
    let result = async {
        let app = segment(&app);
        Signed::caller(&context, &app, &call).await?;
        let body = body::read(stream, context.limits.request_bytes).await?;
        let signed = Signed::check(&context, &app, &Method::POST, &call, body).await?;
        signed.only_parameters(&[])?;
        let (users, user) = (context.users.clone(), segment(&user));
        // In a task of its own: all connections are closed, even if the caller hangs up.
        tokio::spawn(async move { users.terminate(signed.app.index, &user).await })
            .await
            .map_err(|_| ApiError::Failed)?;
        Ok::<_, ApiError>(json(StatusCode::OK, &serde_json::Map::new()))
    };
    Ok(answer(result.await))
}
