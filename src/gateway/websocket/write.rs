//! The writing task of a door: what [`Link::drain`] gives, in the door's own words, until the connection ends.
//! While there is nothing to write it owns no buffer, and what writing takes is boxed: the waiting task is small.

use std::io;
use std::sync::Arc;

use gema_protocol::frame::Frame;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::hub::{Drained, Link};

/// Bytes of small frames gathered into one write, which is one record of TLS.
const RECORD: usize = 16 * 1024;

/// How a door says what a frame of the hub says.
pub(in crate::gateway) trait Dress: Send + Sync + 'static {
    /// Appends the bytes for the wire, or none if the door's clients do not hear of it.
    fn dress(&self, frame: &Frame, out: &mut Vec<u8>);
}

/// Writes what the hub has for a connection; cuts the link when that fails.
pub(in crate::gateway) async fn write_out<W>(link: Arc<Link>, mut stream: W, dress: impl Dress)
where
    W: AsyncWrite + Unpin + Send,
{
    loop {
        let frames = match link.drain().await {
            Drained::Frames(frames) => Some(frames),
            Drained::Finished => None,
            Drained::Severed => return,
        };
        let ends = frames.is_none();
        let write = async {
            let written = async {
                match frames {
                    Some(frames) => write_frames(&link, &mut stream, &frames, &dress).await,
                    None => stream.shutdown().await,
                }
            };
            tokio::select! {
                result = written => result.is_ok(),
                () = link.severed() => false,
            }
        };
        if !Box::pin(write).await {
            return link.sever();
        }
        if ends {
            return;
        }
    }
}

async fn write_frames(
    link: &Link,
    stream: &mut (impl AsyncWrite + Unpin),
    frames: &[Frame],
    dress: &impl Dress,
) -> io::Result<()> {
    let mut record = Vec::new();
    // The hub counts its own frames as unsent, however long they are in the door's words.
    let mut unsent = 0;
    let mut frames = frames.iter().peekable();
    while let Some(frame) = frames.next() {
        dress.dress(frame, &mut record);
        unsent += frame.len();
        if record.len() >= RECORD || frames.peek().is_none() {
            stream.write_all(&record).await?;
            link.wrote(unsent);
            record.clear();
            unsent = 0;
        }
    }
    stream.flush().await
}
