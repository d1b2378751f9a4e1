//! `gema trigger`: publishes one event through the HTTP API of a running server, signed as a back end signs.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::client::Api;
use super::client::api::{Answer, ApiError};
use super::output::{self, GOOD, NAME, Progress, styled};
use super::target::TargetArgs;
use super::{CommandError, block_on};

/// How long the server may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The most that is read as an event's data. Servers take 10 KB, unless limits.event_data_bytes says otherwise.
const DATA: u64 = 16 * 1024 * 1024;

/// Publish an event on a running server
///
/// Signs the request with the app's secret and says how many subscriptions the channel had. Server and app are those of
/// the configuration (--config, the environment, the defaults), unless flags say otherwise.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  gema trigger availability AvailabilityUpdated '{\"session_id\":1,\"available_slots\":5}'\n  \
                  gema trigger orders new-order --file order.json --url https://realtime.example.com\n  \
                  jq -c .order data.json | gema trigger orders new-order --file -"
)]
pub(super) struct Args {
    /// Channel to publish to
    channel: String,
    /// Name of the event; Laravel's are like App\Events\OrderShipped
    event: String,
    /// Data of the event: JSON
    #[arg(
        value_name = "JSON",
        required_unless_present = "file",
        conflicts_with = "file"
    )]
    data: Option<String>,
    /// Read the data from a file; - is standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Socket id of a connection that is not to hear it
    #[arg(long, value_name = "ID")]
    socket_id: Option<String>,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

pub(super) fn run(args: Args) -> Result<(), CommandError> {
    let data = match (args.data, args.file) {
        (Some(data), _) => data,
        (None, Some(file)) => read(&file)?,
        (None, None) => String::new(),
    };
    let data = checked(&data)?;
    let target = args.target.resolve()?;
    let app = target.credentials()?;
    let mut body = json!({
        "name": args.event,
        "channel": args.channel,
        "data": data,
        "info": "subscription_count",
    });
    if let Some(socket) = args.socket_id {
        body["socket_id"] = socket.into();
    }
    let progress = Progress::new();
    let answer = block_on(async {
        let api = Api::new(&target, TIMEOUT)?;
        progress.waiting(&format!("publishing at {}", target.base));
        let answer = api.post(&app, "/events", body.to_string()).await;
        Ok(answer.and_then(Answer::good))
    })?;
    progress.done();
    let answer = answer.map_err(|error| refused(target.base.as_str(), &error))?;
    let count = subscriptions(&answer, &args.channel);
    if args.json {
        let shown = json!({
            "server": target.base.as_str(),
            "app": app.id,
            "channel": args.channel,
            "event": args.event,
            "subscriptions": count,
        });
        output::last_line(&shown.to_string());
        return Ok(());
    }
    let heard = match count {
        Some(0) => "nobody is subscribed".to_owned(),
        Some(1) => "1 subscription".to_owned(),
        Some(count) => format!("{count} subscriptions"),
        None => "taken".to_owned(),
    };
    output::last_line(&format!(
        "{} {} to {} at {}: {heard}",
        styled(GOOD, "published"),
        styled(NAME, output::harmless(&args.event)),
        styled(NAME, output::harmless(&args.channel)),
        target.base
    ));
    Ok(())
}

/// What the command says when the API does not do what was asked.
pub(super) fn refused(server: &str, error: &ApiError) -> CommandError {
    let cure = error.cure().map(|cure| format!("\n{cure}"));
    let error = output::harmless(&error.to_string()).into_owned();
    CommandError::Failed(format!("{server}: {error}{}", cure.unwrap_or_default()))
}

fn read(file: &Path) -> Result<String, CommandError> {
    let unreadable = |error: std::io::Error| {
        CommandError::Usage(format!(
            "--file {}: cannot be read: {error}",
            file.display()
        ))
    };
    let source: Box<dyn Read> = match file.to_str() {
        Some("-") => Box::new(std::io::stdin()),
        _ => Box::new(std::fs::File::open(file).map_err(unreadable)?),
    };
    let mut text = String::new();
    source
        .take(DATA)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    Ok(text.trim().to_owned())
}

/// The data, byte for byte, once it is known to be JSON: pages parse it.
fn checked(data: &str) -> Result<&str, CommandError> {
    match serde_json::from_str::<serde::de::IgnoredAny>(data) {
        Ok(_) => Ok(data),
        Err(error) => Err(CommandError::Usage(format!(
            "the data is not JSON ({error}); a text is written as '\"Halo!\"', an object as '{{\"id\":1}}'"
        ))),
    }
}

/// How many heard it; a server that is no gema may not say.
fn subscriptions(answer: &Answer, channel: &str) -> Option<u64> {
    let answer: Value = serde_json::from_str(&answer.text).ok()?;
    answer["channels"][channel]["subscription_count"].as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_that_pages_could_not_parse_is_refused_with_a_hint() {
        for good in ["{\"a\": 1}", "\"Halo!\"", "7", "null", "[1, 2]"] {
            assert_eq!(checked(good).unwrap(), good);
        }
        for bad in ["", "Halo!", "{a:1}", "{} {}"] {
            let said = checked(bad).unwrap_err().to_string();
            assert!(said.contains("not JSON"), "{said}");
        }
    }
}
