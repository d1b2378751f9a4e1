//! When to ping a connection that has gone silent, and when to give it up.
//!
//! The ping is a WebSocket control frame, which every client library answers by itself; `pusher:ping` events go
//! unanswered by some. Whatever comes in, control frames included, shows that the client is there.

/// The two time limits of every connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Liveness {
    /// Silence after which the client is pinged, in milliseconds.
    pub activity_timeout_ms: u64,
    /// Silence after a ping that ends the connection, in milliseconds.
    pub pong_timeout_ms: u64,
}

/// What a connection needs now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// It is alive, or has been pinged and still has time.
    Nothing,
    /// A ping, and a note of when it was sent.
    Ping,
    /// To be closed with [`Code::PongTimeout`](crate::Code::PongTimeout).
    Dead,
}

impl Liveness {
    /// Judges a connection by the time, when anything was last heard from it, and when it was last pinged, if ever: an
    /// old ping may stay noted. All in milliseconds on one clock.
    #[must_use]
    pub fn on_tick(&self, now_ms: u64, last_heard_ms: u64, pinged_at_ms: Option<u64>) -> Tick {
        match pinged_at_ms.filter(|&pinged| pinged > last_heard_ms) {
            Some(pinged) if now_ms.saturating_sub(pinged) >= self.pong_timeout_ms => Tick::Dead,
            Some(_) => Tick::Nothing,
            None if now_ms.saturating_sub(last_heard_ms) >= self.activity_timeout_ms => Tick::Ping,
            None => Tick::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVENESS: Liveness = Liveness {
        activity_timeout_ms: 120_000,
        pong_timeout_ms: 30_000,
    };

    #[test]
    fn silence_is_pinged_and_silence_after_the_ping_is_the_end() {
        assert_eq!(LIVENESS.on_tick(119_999, 0, None), Tick::Nothing);
        assert_eq!(LIVENESS.on_tick(120_000, 0, None), Tick::Ping);
        assert_eq!(LIVENESS.on_tick(149_999, 0, Some(120_000)), Tick::Nothing);
        assert_eq!(LIVENESS.on_tick(150_000, 0, Some(120_000)), Tick::Dead);
    }

    #[test]
    fn anything_heard_after_the_ping_starts_over() {
        assert_eq!(
            LIVENESS.on_tick(200_000, 120_001, Some(120_000)),
            Tick::Nothing
        );
        assert_eq!(
            LIVENESS.on_tick(240_001, 120_001, Some(120_000)),
            Tick::Ping
        );
        assert_eq!(
            LIVENESS.on_tick(240_001, 120_001, Some(240_001)),
            Tick::Nothing
        );
    }

    #[test]
    fn a_clock_that_steps_back_kills_nobody() {
        assert_eq!(LIVENESS.on_tick(5, 100, None), Tick::Nothing);
        assert_eq!(LIVENESS.on_tick(5, 100, Some(200)), Tick::Nothing);
    }
}
