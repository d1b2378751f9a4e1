//! Slots on their way from one server of a cluster to another: a name that has left already is asked for where it goes, and
//! what stands between the two is asked again a moment later
//! (<https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#ask-redirection>).
//!
//! The link sends nothing else meanwhile, so what is asked of a slot keeps its order.

use std::collections::HashMap;
use std::time::Duration;

use redis::{Pipeline, ServerErrorKind, Value};
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::Link;
use super::serve::PATIENCE;
use crate::bus::redis::connect::{Connection, LOST, connect};
use crate::bus::redis::queue::Job;
use crate::bus::redis::route::Route;
use crate::bus::redis::url::Address;

/// How often a batch is asked anew before its refusals count. A slot of ours has few keys and stands between two servers for
/// milliseconds; where it stays there, the link must not wait for it with every batch for long.
const ROUNDS: usize = 3;

/// Before what stands between two servers is asked again.
const PAUSE: Duration = Duration::from_millis(10);

/// How long the other server may take, from connecting on. Subscribers wait a second for their answer.
const DETOUR: Duration = Duration::from_millis(500);

/// What a refusal says of the name that was asked for.
#[derive(Debug, PartialEq, Eq)]
enum Whereabouts {
    /// It is at this server, or will be made there.
    There(Address),
    /// Some of the command's names have left and some have not.
    Between,
}

impl Link {
    /// Puts answers in the place of refusals that a moving slot is the reason of, as far as there are any to be had.
    ///
    /// # Errors
    /// Why the connection is of no use any more; the replies are what there is.
    pub(super) async fn follow(
        &self,
        connection: &mut Connection,
        route: &Route,
        jobs: &[Job],
        replies: &mut [Value],
    ) -> Result<(), String> {
        for _ in 0..ROUNDS {
            let (mut there, mut between) = (HashMap::<Address, Vec<usize>>::new(), Vec::new());
            for (index, (job, reply)) in jobs.iter().zip(&*replies).enumerate() {
                match whereabouts(reply, route) {
                    // Subscriptions are the old server's until the slot is the new one's.
                    _ if job.command.subscribes() => {}
                    Some(Whereabouts::There(address)) => {
                        there.entry(address).or_default().push(index)
                    }
                    Some(Whereabouts::Between) => between.push(index),
                    None => {}
                }
            }
            if there.is_empty() && between.is_empty() {
                return Ok(());
            }
            for (address, indexes) in there {
                let asked = indexes.iter().filter_map(|index| jobs.get(*index));
                let answers = tokio::select! {
                    answers = ask_there(&address, route, asked) => answers,
                    () = &mut connection.driver => return Err(LOST.into()),
                };
                match answers {
                    Ok(answers) => put(replies, &indexes, answers),
                    Err(why) => {
                        debug!(%address, why, "a name that has left for this server cannot be asked for");
                        return Ok(());
                    }
                }
            }
            if !between.is_empty() {
                tokio::select! {
                    () = sleep(PAUSE) => {}
                    () = &mut connection.driver => return Err(LOST.into()),
                }
                let mut pipeline = Pipeline::with_capacity(between.len());
                for job in between.iter().filter_map(|index| jobs.get(*index)) {
                    pipeline.add_command(job.command.encode(true));
                }
                let answers = connection.exchange(&pipeline, PATIENCE).await?;
                put(replies, &between, answers);
            }
        }
        Ok(())
    }
}

/// Has another server carry out commands for names of a slot that it is being given.
async fn ask_there(
    address: &Address,
    route: &Route,
    jobs: impl Iterator<Item = &Job>,
) -> Result<Vec<Value>, String> {
    let mut pipeline = Pipeline::new();
    // A server that has had no slots so far knows no scripts either.
    for script in route.scripts {
        pipeline.add_command(script.load());
    }
    for job in jobs {
        pipeline.add_command(redis::cmd("ASKING"));
        pipeline.add_command(job.command.encode(true));
    }
    let asking = async {
        let mut connection = connect(address, &route.access, |_| {}).await?;
        connection.exchange(&pipeline, DETOUR).await
    };
    let replies = timeout(DETOUR, asking).await;
    let mut replies = replies.map_err(|_| "no answer in time".to_owned())??;
    let mut replies = replies.drain(route.scripts.len().min(replies.len())..);
    let mut answers = Vec::with_capacity(replies.len() / 2);
    while let (Some(asking), Some(answer)) = (replies.next(), replies.next()) {
        // Who may not say ASKING is told so, and not that the slot has moved.
        answers.push(match asking {
            Value::ServerError(_) => asking,
            _ => answer,
        });
    }
    Ok(answers)
}

fn put(replies: &mut [Value], indexes: &[usize], answers: Vec<Value>) {
    for (index, answer) in indexes.iter().zip(answers) {
        if let Some(reply) = replies.get_mut(*index) {
            *reply = answer;
        }
    }
}

/// What a reply says of a name that is not where it was asked for; nothing, if it says something else. `ASK slot host:port`
/// without a host means the host of the server that said it.
fn whereabouts(reply: &Value, route: &Route) -> Option<Whereabouts> {
    let Value::ServerError(error) = reply else {
        return None;
    };
    match error.kind()? {
        ServerErrorKind::TryAgain => Some(Whereabouts::Between),
        ServerErrorKind::Ask => {
            let (host, port) = error.details()?.split(' ').nth(1)?.rsplit_once(':')?;
            Some(Whereabouts::There(Address {
                host: if host.is_empty() { route.host()? } else { host }.to_owned(),
                port: port.parse().ok()?,
            }))
        }
        _ => None,
    }
}
