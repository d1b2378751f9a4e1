//! Reading a request's body within a limit of bytes and time, whether its length was announced or not.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};

/// How long a body may take to arrive. Ten seconds carry 1 MiB over a bad mobile line.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("The request exceeds limits.request_bytes ({0} bytes)")]
    TooLarge(usize),
    #[error("The request's body did not arrive within 10 seconds")]
    TooSlow,
    #[error("The request's body ended early")]
    Broken,
}

/// All bytes of a body, at most `limit`.
pub(crate) async fn read<S, B>(stream: S, limit: usize) -> Result<Bytes, BodyError>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    let read = async {
        let mut stream = std::pin::pin!(stream);
        let mut body = Bytes::new();
        let mut whole = BytesMut::new();
        while let Some(chunk) = stream.next().await {
            let mut chunk = chunk.map_err(|_| BodyError::Broken)?;
            if body.len() + whole.len() + chunk.remaining() > limit {
                return Err(BodyError::TooLarge(limit));
            }
            let chunk = chunk.copy_to_bytes(chunk.remaining());
            // Nearly always there is one chunk, and it is taken as it is.
            if body.is_empty() && whole.is_empty() {
                body = chunk;
            } else {
                whole.extend_from_slice(&std::mem::take(&mut body));
                whole.extend_from_slice(&chunk);
            }
        }
        Ok(if whole.is_empty() {
            body
        } else {
            whole.freeze()
        })
    };
    tokio::time::timeout(PATIENCE, read)
        .await
        .unwrap_or(Err(BodyError::TooSlow))
}
