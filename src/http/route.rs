//! What the figures call a route: its pattern, so that there are as many as there are endpoints and not as many as
//! there are channels.

/// Every route, the busiest first; `{x}` stands for one segment. The last stands for all other paths.
pub const ROUTES: [&str; 29] = [
    "/apps/{id}/events",
    "/apps/{id}/batch_events",
    "/app/{key}",
    "/api/broadcasting/auth",
    "/broadcasting/auth",
    "/pusher/auth",
    "/pusher/app/{key}/{n}/{session}/xhr_send",
    "/pusher/app/{key}/{n}/{session}/xhr",
    "/pusher/app/{key}/{n}/{session}/xhr_streaming",
    "/apps/{id}/channels",
    "/apps/{id}/channels/{name}",
    "/apps/{id}/channels/{name}/events",
    "/apps/{id}/channels/{name}/users",
    "/apps/{id}/users/{user}/terminate_connections",
    "/apps/{id}/connections",
    "/api/broadcasting/user-auth",
    "/broadcasting/user-auth",
    "/pusher/user-auth",
    "/socket.io",
    "/websocket-test.html",
    "/api/chats",
    "/api/chats/unread",
    "/api/chats/history/{user}",
    "/api/chats/{message}/read",
    "/up",
    "/ready",
    "/",
    "/ws",
    "other",
];

/// The place in [`ROUTES`] of the route that this path, without the path prefix, belongs to.
pub fn route(path: &str) -> usize {
    let last = ROUTES.len() - 1;
    let patterns = &ROUTES[..last];
    let found = patterns.iter().position(|pattern| fits(pattern, path));
    found.unwrap_or(last)
}

fn fits(pattern: &str, path: &str) -> bool {
    let mut segments = path.trim_end_matches('/').split('/');
    let mut wanted = pattern.trim_end_matches('/').split('/');
    loop {
        match (wanted.next(), segments.next()) {
            (None, None) => return true,
            (Some(wanted), Some(segment)) if wanted.starts_with('{') || wanted == segment => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_the_label_of_its_endpoint_whatever_it_names() {
        for (path, label) in [
            ("/apps/1/events", "/apps/{id}/events"),
            (
                "/apps/1/channels/private-a%2Fb",
                "/apps/{id}/channels/{name}",
            ),
            (
                "/apps/1/channels/a/events",
                "/apps/{id}/channels/{name}/events",
            ),
            ("/app/key/", "/app/{key}"),
            ("/", "/"),
            ("/up", "/up"),
            ("/apps/1/events/more", "other"),
            ("/wp-login.php", "other"),
            ("*", "other"),
        ] {
            assert_eq!(ROUTES[route(path)], label, "{path}");
        }
    }

    #[test]
    fn every_endpoint_of_the_description_has_a_label() {
        let described: Vec<&str> = include_str!("../../config/openapi.yaml")
            .lines()
            .filter_map(|line| line.strip_prefix("  /")?.strip_suffix(':'))
            .collect();
        assert!(described.len() > 10, "{described:?}");
        for path in described {
            let path = format!("/{path}");
            assert_ne!(ROUTES[route(&path)], "other", "{path}");
        }
    }
}
