//! What is noted of a client as it comes in, for those who look at the server; the same for all doors.

use std::net::IpAddr;
use std::sync::Arc;

use gema_protocol::socket_id::SocketId;

use super::Kind;
use super::pusher::Gateway;
use crate::clock;
use crate::hub::{Link, Origin};
use crate::live::What;

/// A client has been let in.
pub(super) fn connected(
    gateway: &Gateway,
    link: &Link,
    (app, kind): (u32, Kind),
    socket: SocketId,
    client: IpAddr,
) {
    link.comes_from(Origin {
        app,
        client,
        gateway: kind as u8,
        // 136 years.
        since_s: (clock::now_ms() / 1000) as u32,
    });
    gateway.live.note(app, || What::Connected {
        socket,
        gateway: kind.label(),
        client,
    });
}

/// A client has shown whose it is.
pub(super) fn signed_in(
    gateway: &Gateway,
    link: &Link,
    app: u32,
    socket: SocketId,
    user: &Arc<str>,
) {
    link.belongs_to(user.clone());
    gateway.live.note(app, || What::SignedIn {
        socket,
        user: user.clone(),
    });
}
