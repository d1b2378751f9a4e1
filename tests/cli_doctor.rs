//! `gema doctor` finds what keeps browsers and back ends away, names it, and lets the other checks go on.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::Server;
use crate::support::nginx::Nginx;
use crate::support::port::Port;
use crate::support::program::{Command, Ended, gema};

const CHECKS: [&str; 13] = [
    "dns",
    "connect",
    "tls",
    "http",
    "websocket",
    "key",
    "clock",
    "secret",
    "origin",
    "cors",
    "auth",
    "delivery",
    "ping",
];

/// What the doctor found.
struct Report {
    code: i32,
    report: Value,
}

impl Report {
    fn of(ended: Ended) -> Report {
        let report = ended.json();
        let names: Vec<&str> = report["checks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|check| check["check"].as_str().unwrap())
            .collect();
        assert_eq!(names, CHECKS);
        assert_eq!(ended.code == 0, report["ok"].as_bool().unwrap());
        Report {
            code: ended.code,
            report,
        }
    }

    fn with(&self, status: &str) -> Vec<&str> {
        let checks = self.report["checks"].as_array().unwrap().iter();
        let with = checks.filter(|check| check["status"] == status);
        with.map(|check| check["check"].as_str().unwrap()).collect()
    }

    /// These checks failed and no other; gives the first one's finding and cure.
    fn failed(&self, names: &[&str]) -> (String, String) {
        assert_eq!(self.with("failed"), names, "{}", self.report);
        assert_eq!(self.code, 1);
        let checks = self.report["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["check"] == names[0]);
        let text = |key: &str| check.unwrap()[key].as_str().unwrap().to_owned();
        (text("found"), text("cure"))
    }
}

async fn doctor(args: &[&str]) -> Report {
    Report::of(gema(&[&["doctor", "--json"], args].concat()).await)
}

/// A configuration file with a secret for tokens.
fn with_tokens() -> (TempDir, String, &'static str) {
    let toml = "[auth]\njwt_secret = 'hush-hush-hush-hush-hush-hush-hush'\n";
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gema.toml");
    std::fs::write(&path, toml).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (directory, path, toml)
}

#[tokio::test]
async fn a_healthy_server_passes_every_check() {
    let (_directory, config, toml) = with_tokens();
    let server = Server::with(toml).await;
    let url = server.url("");
    let origin = ["--origin", "https://www.example.com"];
    let channel = ["--channel", "private-booking.1"];
    let report = doctor(&[&[&*url, "--config", &config], &origin[..], &channel[..]].concat()).await;
    assert_eq!(report.with("skipped"), ["tls"], "{}", report.report);
    assert_eq!(report.with("failed"), [""; 0]);
    assert_eq!(report.code, 0);
}

#[tokio::test]
async fn a_closed_port_is_found() {
    let port = Port::free();
    let report = doctor(&[&format!("http://{}", port.address())]).await;
    let (found, cure) = report.failed(&["connect"]);
    assert!(found.contains("nothing listens"), "{found}");
    assert!(cure.contains("gema serve"), "{cure}");
    assert!(report.with("skipped").contains(&"websocket"));
}

#[tokio::test]
async fn a_name_without_an_address_is_found() {
    // Too long for a name, so no name service is asked (RFC 1035, section 2.3.4).
    let name = "a".repeat(64);
    let report = doctor(&[&format!("http://{name}.example")]).await;
    let (found, _) = report.failed(&["dns"]);
    assert!(found.contains("has no address"), "{found}");
}

#[tokio::test]
async fn a_wrong_key_is_found() {
    let server = Server::start().await;
    let url = server.url("");
    let args = [
        &*url,
        "--key",
        "wrong",
        "--app",
        "app-id",
        "--secret",
        "app-secret",
    ];
    let report = doctor(&args).await;
    // The API wants the key too.
    let (found, cure) = report.failed(&["key", "secret"]);
    assert!(found.contains("4001"), "{found}");
    assert!(cure.contains("PUSHER_APP_KEY"), "{cure}");
}

#[tokio::test]
async fn a_wrong_secret_is_found() {
    let server = Server::start().await;
    let report = doctor(&[&server.url(""), "--secret", "wrong"]).await;
    let (found, cure) = report.failed(&["secret"]);
    assert!(found.contains("Invalid signature"), "{found}");
    assert!(cure.contains("PUSHER_APP_SECRET"), "{cure}");
    assert!(!report.report.to_string().contains("wrong"));
}

#[tokio::test]
async fn a_proxy_without_upgrade_headers_is_found_and_the_missing_lines_are_shown() {
    let server = Server::start().await;
    let pass = format!("proxy_pass http://{};", server.address);
    let nginx = Nginx::start(&format!("location / {{ {pass} }}")).await;
    let report = doctor(&[&nginx.url()]).await;
    let (found, cure) = report.failed(&["websocket"]);
    assert!(found.contains("426 by nginx"), "{found}");
    assert!(report.with("ok").contains(&"secret"), "{}", report.report);
    // The cure cures.
    let lines: String = cure
        .lines()
        .filter(|line| line.starts_with("    proxy_"))
        .collect();
    let nginx = Nginx::start(&format!("location / {{ {pass} {lines} }}")).await;
    assert_eq!(doctor(&[&nginx.url()]).await.code, 0);
}

#[tokio::test]
async fn a_proxy_that_sends_the_websocket_elsewhere_is_found() {
    let nginx =
        Nginx::start("location / { default_type text/html; return 200 '<html>Welcome'; }").await;
    let report = doctor(&[&nginx.url()]).await;
    let (found, _) = report.failed(&["http", "websocket", "secret"]);
    assert!(found.contains("200 by nginx"), "{found}");
    let nginx = Nginx::start("location / { return 301 https://example.com$request_uri; }").await;
    let report = doctor(&[&nginx.url()]).await;
    let (_, cure) = report.failed(&["http", "websocket", "secret"]);
    assert!(cure.contains("https://example.com/up"), "{cure}");
    let nobody = Port::free();
    let site = format!("location / {{ proxy_pass http://{}; }}", nobody.address());
    let nginx = Nginx::start(&site).await;
    let report = doctor(&[&nginx.url()]).await;
    let (found, cure) = report.failed(&["http", "websocket", "secret"]);
    assert!(found.contains("502"), "{found}");
    assert!(cure.contains("start gema"), "{cure}");
}

/// Directives with which nginx passes everything on.
fn passing(server: &Server) -> String {
    format!(
        "proxy_pass http://{}; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; \
         proxy_set_header Connection upgrade;",
        server.address
    )
}

#[tokio::test]
async fn a_proxy_that_closes_silent_connections_is_found() {
    let server = Server::start().await;
    let site = format!(
        "location / {{ {} proxy_read_timeout 1s; }}",
        passing(&server)
    );
    let nginx = Nginx::start(&site).await;
    let url = nginx.url();
    assert_eq!(doctor(&[&url]).await.code, 0);
    let report = doctor(&[&url, "--idle", "15"]).await;
    let (found, cure) = report.failed(&["ping"]);
    assert!(found.contains("of silence"), "{found}");
    assert!(cure.contains("proxy_read_timeout"), "{cure}");
}

#[tokio::test]
async fn an_api_that_reaches_another_server_than_the_websocket_is_found() {
    let (one, other) = (Server::start().await, Server::start().await);
    let api = format!("location /apps/ {{ {} }}", passing(&other));
    let site = format!("{api} location / {{ {} }}", passing(&one));
    let nginx = Nginx::start(&site).await;
    let report = doctor(&[&nginx.url(), "--timeout", "2"]).await;
    let (found, cure) = report.failed(&["delivery"]);
    assert!(found.contains("did not arrive"), "{found}");
    assert!(cure.contains("[redis]"), "{cure}");
}

/// A server with a certificate by an authority of the test's own, and the file that names that authority.
async fn server_with(change: impl FnOnce(&mut CertificateParams)) -> (Server, String, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, pem: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let mut of_ca = CertificateParams::new(Vec::new()).unwrap();
    of_ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(of_ca, KeyPair::generate().unwrap()).unwrap();
    let own = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
    change(&mut params);
    let cert = params.signed_by(&own, &ca).unwrap();
    let ca = write("ca.pem", ca.pem());
    let cert = write("cert.pem", cert.pem());
    let key = write("key.pem", own.serialize_pem());
    let server = Server::with(&format!("[server]\ntls_cert = '{cert}'\ntls_key = '{key}'")).await;
    (server, ca, directory)
}

async fn doctor_over_tls(server: &Server, ca: &str) -> Report {
    let url = format!("https://localhost:{}", server.address.port());
    doctor(&[&url, "--ca", ca]).await
}

#[tokio::test]
async fn a_good_certificate_is_believed() {
    let (server, ca, _directory) = server_with(|_| {}).await;
    let report = doctor_over_tls(&server, &ca).await;
    assert_eq!(report.with("failed"), [""; 0], "{}", report.report);
    assert!(report.with("ok").contains(&"delivery"), "{}", report.report);
}

#[tokio::test]
async fn an_expired_certificate_is_found() {
    let (server, ca, _directory) = server_with(|params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    })
    .await;
    let (found, cure) = doctor_over_tls(&server, &ca).await.failed(&["tls"]);
    assert!(found.contains("has expired"), "{found}");
    assert!(cure.contains("renew"), "{cure}");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_found() {
    let (server, ca, _directory) = server_with(|params| {
        let other = "elsewhere.example".try_into().unwrap();
        params.subject_alt_names = vec![rcgen::SanType::DnsName(other)];
    })
    .await;
    let (found, _) = doctor_over_tls(&server, &ca).await.failed(&["tls"]);
    assert!(found.contains("not for localhost but for"), "{found}");
    assert!(found.contains("elsewhere.example"), "{found}");
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_found() {
    let (server, _, _directory) = server_with(|_| {}).await;
    let (_other, ca, _directory) = server_with(|_| {}).await;
    let (found, cure) = doctor_over_tls(&server, &ca).await.failed(&["tls"]);
    assert!(found.contains("nobody this machine knows"), "{found}");
    assert!(cure.contains("fullchain.pem"), "{cure}");
}

#[tokio::test]
async fn a_self_signed_certificate_is_found() {
    let (_other, ca, _directory) = server_with(|_| {}).await;
    // `openssl req -x509` makes one that is an authority besides.
    for is_ca in [IsCa::NoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
        let directory = tempfile::tempdir().unwrap();
        let own = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        params.is_ca = is_ca;
        let pem = params.self_signed(&own).unwrap().pem();
        let (cert, key) = (
            directory.path().join("cert.pem"),
            directory.path().join("key.pem"),
        );
        std::fs::write(&cert, pem).unwrap();
        std::fs::write(&key, own.serialize_pem()).unwrap();
        let toml = format!("[server]\ntls_cert = {cert:?}\ntls_key = {key:?}");
        let server = Server::with(&toml).await;
        let report = doctor_over_tls(&server, &ca).await;
        let (found, _) = report.failed(&["tls"]);
        assert!(found.contains("self-signed"), "{found}");
    }
}

#[tokio::test]
async fn tls_where_there_is_none_and_none_where_there_is_are_found() {
    let server = Server::start().await;
    let url = format!("https://{}", server.address);
    let (found, cure) = doctor(&[&url]).await.failed(&["tls"]);
    assert!(found.contains("does not speak TLS"), "{found}");
    assert!(cure.contains("http://"), "{cure}");
    let (server, _, _directory) = server_with(|_| {}).await;
    let report = doctor(&[&server.url("")]).await;
    let (_, cure) = report.failed(&["http", "websocket", "secret"]);
    assert!(cure.contains("https://"), "{cure}");
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_found_and_hides_no_other_check() {
    let server = Server::start().await;
    let url = server.url("");
    for (shift, found_as) in [("+20m", "ahead of"), ("-20m", "behind")] {
        let args = ["doctor", "--json", &url];
        let shifted = Command::by(&["faketime", "-f", shift], &args).run().await;
        let report = Report::of(shifted);
        let (found, cure) = report.failed(&["clock"]);
        assert!(found.contains(found_as), "{found}");
        assert!(cure.contains("signed here are refused"), "{cure}");
        assert!(report.with("ok").contains(&"delivery"), "{}", report.report);
    }
}

#[tokio::test]
async fn an_origin_that_is_not_allowed_is_found() {
    let server = Server::with(&crate::support::node::app(
        "allowed_origins = ['good.example']",
    ))
    .await;
    let url = server.url("");
    let report = doctor(&[&url, "--origin", "https://bad.example"]).await;
    let (found, cure) = report.failed(&["origin", "cors"]);
    assert!(found.contains("4009"), "{found}");
    assert!(cure.contains("\"https://bad.example\""), "{cure}");
    let report = doctor(&[&url, "--origin", "https://good.example"]).await;
    assert_eq!(report.code, 0, "{}", report.report);
}

#[tokio::test]
async fn an_auth_endpoint_that_does_not_believe_the_token_is_found() {
    let (_directory, config, _) = with_tokens();
    let server = Server::with("auth.jwt_secret = 'another-secret-another-secret-another'").await;
    let report = doctor(&[&server.url(""), "--config", &config]).await;
    let (found, cure) = report.failed(&["auth"]);
    assert!(found.contains("401"), "{found}");
    assert!(cure.contains("auth.jwt_secret"), "{cure}");
}

#[tokio::test]
async fn a_channel_that_the_user_may_not_have_is_found() {
    let (_directory, config, toml) = with_tokens();
    let server = Server::with(toml).await;
    let channel = ["--channel", "private-booking.2"];
    let report = doctor(&[&[&*server.url(""), "--config", &config], &channel[..]].concat()).await;
    let (found, cure) = report.failed(&["auth"]);
    assert!(found.contains("403 for private-booking.2"), "{found}");
    assert!(cure.contains("[[auth.channels]]"), "{cure}");
}

#[tokio::test]
async fn people_read_a_line_for_each_check_and_the_cure_below_it() {
    let server = Server::start().await;
    let told = gema(&["doctor", &server.url(""), "--secret", "wrong"]).await;
    assert_eq!(told.code, 1);
    let lines: Vec<&str> = told.out.lines().collect();
    let line = |check: &str| {
        lines
            .iter()
            .position(|line| line.starts_with(check))
            .unwrap()
    };
    assert!(
        lines[line("key")].starts_with("key        ok      "),
        "{told:?}"
    );
    assert!(
        lines[line("secret")].starts_with("secret     failed  "),
        "{told:?}"
    );
    assert!(
        lines[line("secret") + 1].starts_with("           the secret is not"),
        "{told:?}"
    );
    assert!(
        lines[line("delivery")].starts_with("delivery   skipped needs "),
        "{told:?}"
    );
    assert_eq!(told.err, "1 of 13 checks failed\n");
}

#[tokio::test]
async fn a_server_below_a_path_passes_too() {
    let server = Server::with("server.path_prefix = '/realtime'").await;
    let report = doctor(&[&server.url("/realtime")]).await;
    assert_eq!(report.code, 0, "{}", report.report);
    let elsewhere = doctor(&[&server.url("/elsewhere")]).await;
    let (_, cure) = elsewhere.failed(&["http", "key", "secret"]);
    assert!(cure.contains("server.path_prefix"), "{cure}");
}

#[test]
fn the_documents_explain_every_check() {
    let documents = include_str!("../docs/cli.md");
    let (_, after) = documents
        .split_once("| check | is good when | needs |")
        .unwrap();
    let table = after.split_once("\n\n").unwrap().0;
    for check in CHECKS {
        assert!(table.contains(&format!("`{check}`")), "{check}");
    }
}
