//! The Pusher Channels protocol without I/O, clock or randomness.
