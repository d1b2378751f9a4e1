//! The pieces of the protocol crate one by one: nanoseconds an operation, the median of several batches on one thread.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gema_protocol::{
    ApiRequest, ClientMessage, Decoder, Envelope, Policy, Session, SocketId, auth, server,
};

use crate::{
    frames::{Opcode, client_frame},
    report::{Figure, Unit},
};

const CHANNEL: &str = "private-order.4711";
const KEY: &str = "app-key";
const SECRET: &str = "app-secret";
const SOCKET: SocketId = SocketId {
    node: 1_234_567_890,
    number: 42,
};
const BATCHES: usize = 15;

/// Runs all of them. `quick`: whether they work, not how well.
pub(crate) fn run(quick: bool) -> Vec<Figure> {
    let batch = match quick {
        true => Duration::from_micros(100),
        false => Duration::from_millis(10),
    };
    let mut figures = Vec::new();
    let mut add = |name: &str, operation: &mut dyn FnMut()| {
        let ns = median_ns(operation, batch);
        figures.push(Figure::new(name, Unit::Micros, ns / 1e3));
    };
    let data = "x".repeat(200);

    add("frame of an event, 200 B of data", &mut || {
        black_box(server::event(CHANNEL, "updated", black_box(&data)));
    });
    add("frame of an acknowledged subscription", &mut || {
        black_box(server::subscription_succeeded(black_box(CHANNEL)));
    });

    let envelope = Envelope {
        node: 7,
        run: 1,
        number: 1,
        except: Some(SOCKET),
        frame: server::event(CHANNEL, "updated", &data),
    };
    add("envelope, encoded", &mut || {
        black_box(black_box(&envelope).encode());
    });
    let encoded = Bytes::from(envelope.encode());
    add("envelope, decoded", &mut || {
        drop(black_box(Envelope::decode(black_box(&encoded))));
    });

    let body = format!(r#"{{"name":"updated","channels":["{CHANNEL}"],"data":"{data}"}}"#);
    let signed = ApiRequest {
        method: "POST",
        path: "/apps/app-id/events",
        query: "",
        body: body.as_bytes(),
    };
    let query = signed.sign(KEY, SECRET, 1_700_000_000);
    let request = ApiRequest {
        query: &query,
        ..signed
    };
    add("signature of a trigger, checked", &mut || {
        drop(black_box(request.verify(KEY, SECRET, "", 1_700_000_000)));
    });
    let socket = SOCKET.to_string();
    let token = auth::sign_channel(KEY, SECRET, &socket, CHANNEL, None);
    add("signature of a subscription, checked", &mut || {
        let checked = auth::verify_channel(&token, KEY, SECRET, SOCKET, CHANNEL, None);
        drop(black_box(checked));
    });

    let subscribe = format!(
        r#"{{"event":"pusher:subscribe","data":{{"channel":"{CHANNEL}","auth":"{token}"}}}}"#
    );
    add("client message, parsed", &mut || {
        drop(black_box(ClientMessage::parse(black_box(&subscribe))));
    });
    let frame = client_frame(Opcode::Text, subscribe.as_bytes());
    let mut decoder = Decoder::new(65_536);
    let mut chunk = frame.clone();
    add("client frame, decoded", &mut || {
        // Unmasking works in place, so each turn needs the masked bytes again.
        chunk.copy_from_slice(&frame);
        let decoded = decoder.feed(&mut chunk, |message| {
            black_box(message);
            true
        });
        let _ = black_box(decoded);
    });

    let mut session = Session::new(Arc::new(policy()), SOCKET);
    add("session, a ping", &mut || {
        black_box(session.on_message(0, r#"{"event":"pusher:ping","data":{}}"#));
    });
    add("session, a signed subscription", &mut || {
        black_box(session.on_message(0, &subscribe));
    });
    figures
}

fn policy() -> Policy {
    Policy {
        key: KEY.to_owned(),
        secret: SECRET.to_owned(),
        client_events: true,
        channel_name_chars: 200,
        event_name_chars: 200,
        event_data_bytes: 10_240,
        channels_per_connection: 0,
        client_events_per_s: 10,
        presence_info_bytes: 1_024,
    }
}

/// Batches that last about `batch`, after one to warm up and find out how many operations that are.
fn median_ns(operation: &mut dyn FnMut(), batch: Duration) -> f64 {
    let mut count = 0_u32;
    let started = Instant::now();
    while started.elapsed() < batch {
        operation();
        count += 1;
    }
    let mut each: Vec<f64> = (0..BATCHES)
        .map(|_| {
            let started = Instant::now();
            for _ in 0..count {
                operation();
            }
            started.elapsed().as_nanos() as f64 / f64::from(count.max(1))
        })
        .collect();
    each.sort_unstable_by(f64::total_cmp);
    each[BATCHES / 2]
}

#[cfg(test)]
mod tests {
    use gema_protocol::Action;

    use super::*;

    #[test]
    fn every_piece_takes_time() {
        let figures = run(true);
        assert_eq!(figures.len(), 10);
        for figure in figures {
            assert!(figure.value > 0.0, "{}", figure.name);
        }
    }

    #[test]
    fn the_session_that_is_timed_allows_what_it_is_asked() {
        let token = auth::sign_channel(KEY, SECRET, &SOCKET.to_string(), CHANNEL, None);
        let text = format!(
            r#"{{"event":"pusher:subscribe","data":{{"channel":"{CHANNEL}","auth":"{token}"}}}}"#
        );
        let action = Session::new(Arc::new(policy()), SOCKET).on_message(0, &text);
        assert!(matches!(action, Action::Subscribe { .. }), "{action:?}");
    }
}
