//! The figures of `GET /metrics` are those of what happened, and gauges are back at zero when everybody has gone.

use serde_json::json;

use crate::support::figures::Figures;
use crate::support::http::Answer;
use crate::support::page::Page;
use crate::support::receiver::Receiver;
use crate::support::{Client, Raw, Server, until};

#[tokio::test]
async fn the_figures_follow_clients_as_they_come_publish_and_go() {
    let server = Server::with_admin("").await;
    let figures = server.figures().await;
    for nothing in [
        "connections{app=\"app-id\",gateway=\"pusher\"}",
        "connections_total",
        "messages_sent_total",
        "channels",
    ] {
        assert_eq!(figures.of(nothing), 0.0, "{nothing}");
    }

    let mut one = server.client().await;
    let mut two = server.client().await;
    one.subscribe("a").await;
    two.join("presence-room", "2").await;
    for client in [&mut one, &mut two] {
        client.subscribe_signed("private-x", None).await;
    }
    for number in 0..3 {
        server.trigger("a", "n", "1").await;
        one.event("n").await;
        let body = json!({ "name": "m", "channels": ["b", "c"], "data": number.to_string() });
        server.post("/apps/app-id/events", &body.to_string()).await;
    }
    let event = json!({ "event": "client-say", "channel": "private-x", "data": "hi" });
    one.send(event).await;
    two.event("client-say").await;

    let figures = server.figures().await;
    for (series, value) in [
        ("ready", 1.0),
        ("connections{app=\"app-id\",gateway=\"pusher\"}", 2.0),
        ("connections{app=\"app-id\",gateway=\"fallback\"}", 0.0),
        ("connections_total", 2.0),
        ("channels", 3.0),
        ("subscriptions{kind=\"public\"}", 1.0),
        ("subscriptions{kind=\"private\"}", 2.0),
        ("subscriptions{kind=\"presence\"}", 1.0),
        ("outbox_bytes", 0.0),
        // Four subscriptions and an event of a client.
        ("messages_received_total", 5.0),
        // Two greetings, four acknowledgements, three events of the API, one of a client.
        ("messages_sent_total", 10.0),
        ("publishes_total{source=\"api\"}", 9.0),
        ("publishes_total{source=\"client\"}", 1.0),
        ("publish_seconds_count", 6.0),
        ("publish_seconds_bucket{le=\"+Inf\"}", 6.0),
        (
            "http_requests_total{route=\"/apps/{id}/events\",status=\"200\"}",
            6.0,
        ),
        (
            "http_requests_total{route=\"/app/{key}\",status=\"101\"}",
            2.0,
        ),
    ] {
        assert_eq!(figures.of(series), value, "{series}");
    }
    assert!(figures.of("bytes_sent_total") > 500.0);
    assert!(figures.of("publish_seconds_sum") > 0.0);

    one.close().await;
    two.vanish();
    until("nobody is left", async || {
        let figures = server.figures().await;
        let gone = figures.of("disconnections_total{code=\"1000\"}")
            + figures.of("disconnections_total{code=\"1006\"}");
        gone == 2.0 && figures.of("connections{app=\"app-id\",gateway=\"pusher\"}") == 0.0
    })
    .await;
    let figures = server.figures().await;
    for (series, value) in [
        ("disconnections_total{code=\"1000\"}", 1.0),
        ("disconnections_total{code=\"1006\"}", 1.0),
        ("connections_total", 2.0),
        ("channels", 0.0),
        ("subscriptions{kind=\"public\"}", 0.0),
        ("subscriptions{kind=\"private\"}", 0.0),
        ("subscriptions{kind=\"presence\"}", 0.0),
    ] {
        assert_eq!(figures.of(series), value, "{series}");
    }
}

#[tokio::test]
async fn what_waits_for_a_slow_consumer_shows_until_it_is_closed() {
    let server = Server::with_admin(
        "[limits]\noutbox_bytes = 3000000\nevent_data_bytes = 1100000\nrequest_bytes = 2000000",
    )
    .await;
    let slow = Raw::subscribed(server.address, "a").await;
    // 40 MB: more than the kernel's buffers and the outbox hold.
    let padding = "x".repeat(1_000_000);
    let mut most = 0.0_f64;
    for _ in 0..40 {
        server.trigger("a", "n", &padding).await;
        most = most.max(server.figures().await.of("outbox_bytes"));
    }
    assert!((1_000_000.0..=3_000_000.0).contains(&most), "{most}");
    let figures = server.figures().await;
    assert_eq!(figures.of("slow_consumers_total"), 1.0);
    let whole = figures.of("messages_sent_total");
    assert!((3.0..40.0).contains(&whole), "{whole}");
    drop(slow);
    until("it is gone with all that waited", async || {
        let figures = server.figures().await;
        figures.of("disconnections_total{code=\"4100\"}") == 1.0
            && figures.of("outbox_bytes") == 0.0
            && figures.of("channels") == 0.0
    })
    .await;
}

#[tokio::test]
async fn a_page_without_websocket_counts_at_its_gateway() {
    let server = Server::with_admin("").await;
    let page = Page::connect(&server, "xhr_streaming").await;
    let series = "connections{app=\"app-id\",gateway=\"fallback\"}";
    assert_eq!(server.figures().await.of(series), 1.0);
    drop(page);
    until("it has gone", async || {
        server.figures().await.of(series) == 0.0
    })
    .await;
}

#[tokio::test]
async fn whoever_is_kept_out_is_counted_by_what_kept_them_out() {
    let server = Server::with_admin(
        "limits.api_requests_per_s = 1\n\
         apps = [{ id = 'app-id', key = 'app-key', secret = 'app-secret', max_connections = 1, \
         allowed_origins = ['https://a.example'] }]",
    )
    .await;
    let _inside = server.client().await;
    for (path, origin, why) in [
        ("/app/nobody", None, "unknown_app"),
        ("/app/app-key?protocol=99", None, "protocol"),
        ("/app/app-key/more", None, "path"),
        ("/app/app-key", Some("https://b.example"), "origin"),
        ("/app/app-key?token=x", None, "token"),
        ("/app/app-key", None, "app_full"),
    ] {
        let mut refused = Client::open(server.address, path, |request| {
            if let Some(origin) = origin {
                let origin = origin.parse().expect("a value");
                request.headers_mut().insert("origin", origin);
            }
        })
        .await;
        assert!(refused.close_code().await.is_some());
        let series = format!("rejected_total{{why=\"{why}\"}}");
        assert_eq!(server.figures().await.of(&series), 1.0, "{why}");
    }
    while server.get("/apps/app-id/channels", "").await.status != 429 {}
    let figures = server.figures().await;
    assert_eq!(figures.of("rejected_total{why=\"api_rate\"}"), 1.0);
    let refused = "http_requests_total{route=\"/apps/{id}/channels\",status=\"429\"}";
    assert_eq!(figures.of(refused), 1.0);
    assert_eq!(figures.of("connections_total"), 1.0);
}

#[tokio::test]
async fn delivered_webhooks_are_counted() {
    let mut receiver = Receiver::start();
    let url = receiver.url();
    let server = Server::with_admin(&format!(
        "[[apps]]\nid = 'app-id'\nkey = 'app-key'\nsecret = 'app-secret'\n\
         [[apps.webhooks]]\nurl = '{url}'\nevents = ['channel_occupied']"
    ))
    .await;
    let mut client = server.client().await;
    client.subscribe("a").await;
    receiver.has_taken(1).await;
    until("its answer has come", async || {
        let figures = server.figures().await;
        figures.of("webhooks_total{result=\"delivered\"}") == 1.0
    })
    .await;
}

#[tokio::test]
async fn every_family_is_there_from_the_start_and_the_bus_only_where_there_is_one() {
    let figures = Server::with_admin("").await.figures().await;
    let families: Vec<(&str, &str)> = figures
        .types
        .iter()
        .map(|(name, kind)| (name.as_str(), kind.as_str()))
        .collect();
    assert_eq!(
        families,
        [
            ("gema_build_info", "gauge"),
            ("gema_bytes_sent_total", "counter"),
            ("gema_channels", "gauge"),
            ("gema_connections", "gauge"),
            ("gema_connections_total", "counter"),
            ("gema_disconnections_total", "counter"),
            ("gema_http_requests_total", "counter"),
            ("gema_messages_received_total", "counter"),
            ("gema_messages_sent_total", "counter"),
            ("gema_outbox_bytes", "gauge"),
            ("gema_publish_seconds", "histogram"),
            ("gema_publishes_total", "counter"),
            ("gema_ready", "gauge"),
            ("gema_rejected_total", "counter"),
            ("gema_slow_consumers_total", "counter"),
            ("gema_subscriptions", "gauge"),
            ("gema_webhooks_total", "counter"),
            ("process_cpu_seconds_total", "counter"),
            ("process_max_fds", "gauge"),
            ("process_open_fds", "gauge"),
            ("process_resident_memory_bytes", "gauge"),
            ("process_start_time_seconds", "gauge"),
        ]
    );
}

#[tokio::test]
async fn with_a_token_only_those_who_know_it_see_the_figures_and_anybody_the_probes() {
    let server = Server::with_admin("admin.token = 'hush+hush'").await;
    let get = async |path: &str, header: Option<&str>| {
        let mut request = server.http.get(server.admin_url(path));
        if let Some(header) = header {
            request = request.header("Authorization", header);
        }
        Answer::of(request.send().await.expect("an answer")).await
    };
    for (path, header) in [
        ("/metrics", Some("Bearer hush+hush")),
        ("/metrics?token=hush%2Bhush", None),
    ] {
        let answer = get(path, header).await;
        assert_eq!(answer.status, 200, "{path} {header:?}");
        Figures::parse(&answer.text);
    }
    for (path, header) in [
        ("/metrics", None),
        ("/metrics", Some("Bearer hush")),
        ("/metrics", Some("Basic hush+hush")),
        ("/metrics?token=", None),
        ("/metrics?token=hush+hush", None),
        ("/metrics?Token=hush%2Bhush", Some("Bearer hush+hush2")),
    ] {
        let answer = get(path, header).await;
        assert_eq!(answer.status, 401, "{path} {header:?}");
        assert!(!answer.text.contains("gema_"), "{}", answer.text);
    }
    for probe in ["/up", "/ready"] {
        assert_eq!(get(probe, None).await.status, 200);
    }
}

#[tokio::test]
async fn the_public_listener_has_no_figures_and_the_admin_listener_nothing_else() {
    let server = Server::with_admin("").await;
    let status = async |url: String| {
        let answer = server.http.get(url).header("Origin", "https://a.example");
        let answer = answer.send().await.expect("an answer");
        let cors = answer.headers().get("access-control-allow-origin");
        assert!(answer.url().port() == Some(server.address.port()) || cors.is_none());
        answer.status().as_u16()
    };
    assert_eq!(status(server.url("/metrics")).await, 404);
    assert_eq!(status(server.admin_url("/metrics")).await, 200);
    assert_eq!(status(server.admin_url("/app/app-key")).await, 404);
    assert_eq!(status(server.admin_url("/apps/app-id/channels")).await, 404);
}

#[tokio::test]
async fn while_draining_the_figures_go_on_and_the_admin_listener_is_not_ready_either() {
    let mut server = Server::with_admin("[server]\nshutdown_grace_s = 60\nshards = 1").await;
    // The first goes at once, the second in a minute.
    let (one, two) = (server.client().await, server.client().await);
    server.begin_shutdown();
    until("it is not ready", async || {
        let ready = server.http.get(server.admin_url("/ready")).send().await;
        ready.expect("an answer").status().as_u16() == 503
    })
    .await;
    assert_eq!(server.figures().await.of("ready"), 0.0);
    let series = "connections{app=\"app-id\",gateway=\"pusher\"}";
    one.vanish();
    until("one is left", async || {
        server.figures().await.of(series) == 1.0
    })
    .await;
    two.vanish();
    server.ended().await;
    let after = tokio::net::TcpStream::connect(server.admin.expect("an address")).await;
    assert!(after.is_err());
}

#[tokio::test]
async fn an_admin_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let toml = format!("admin.port = {port}");
    let mut config = gema::config::Config::from_toml(&toml).expect("good");
    config.server.port = 0;
    let error = gema::server::bind(&config)
        .err()
        .expect("refused")
        .to_string();
    assert!(
        error.starts_with(&format!("cannot listen on 127.0.0.1:{port}: "))
            && error.contains("admin.port"),
        "{error}"
    );
}
