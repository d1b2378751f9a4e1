//! Every frame the server sends, as it stands on the wire.

#![allow(clippy::unwrap_used, reason = "a helper of a test that fails the test")]

use gema_protocol::{Code, Frame, SocketId, server};
use insta::assert_snapshot;
use serde_json::value::RawValue;

fn text(frame: &Frame) -> &str {
    std::str::from_utf8(frame.payload()).unwrap_or_default()
}

fn client_event(data: Option<&str>, user_id: Option<&str>) -> String {
    let data: Option<Box<RawValue>> = data.map(|json| serde_json::from_str(json).unwrap());
    text(&server::client_event(
        "presence-a",
        "client-typing",
        data.as_deref(),
        user_id,
    ))
    .to_owned()
}

#[test]
fn connection_established() {
    let id = SocketId {
        node: 131_160,
        number: 155_806_628,
    };
    assert_snapshot!(text(&server::connection_established(id, 120)), @r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"131160.155806628\",\"activity_timeout\":120}"}"#);
}

#[test]
fn pong() {
    assert_snapshot!(text(&server::pong()), @r#"{"event":"pusher:pong","data":"{}"}"#);
}

#[test]
fn errors_with_and_without_a_code() {
    let rate = Code::ClientEventRate;
    assert_snapshot!(text(&server::error(Some(rate), rate.message())), @r#"{"event":"pusher:error","data":{"code":4301,"message":"Client event rejected due to rate limit"}}"#);
    assert_snapshot!(text(&server::error(None, "No \"a\"")), @r#"{"event":"pusher:error","data":{"code":null,"message":"No \"a\""}}"#);
}

#[test]
fn subscription_succeeded() {
    assert_snapshot!(text(&server::subscription_succeeded("private-a")), @r#"{"event":"pusher_internal:subscription_succeeded","channel":"private-a","data":"{}"}"#);
}

#[test]
fn presence_succeeded() {
    let roster = [("1", Some(r#"{"name":"A"}"#)), ("2", None)];
    assert_snapshot!(text(&server::presence_succeeded("presence-a", roster)), @r#"{"event":"pusher_internal:subscription_succeeded","channel":"presence-a","data":"{\"presence\":{\"count\":2,\"ids\":[\"1\",\"2\"],\"hash\":{\"1\":{\"name\":\"A\"},\"2\":null}}}"}"#);
    assert_snapshot!(text(&server::presence_succeeded("presence-a", [])), @r#"{"event":"pusher_internal:subscription_succeeded","channel":"presence-a","data":"{\"presence\":{\"count\":0,\"ids\":[],\"hash\":{}}}"}"#);
}

#[test]
fn subscription_error() {
    assert_snapshot!(text(&server::subscription_error("private-a", "AuthError", "no", 401)), @r#"{"event":"pusher:subscription_error","channel":"private-a","data":{"type":"AuthError","error":"no","status":401}}"#);
}

#[test]
fn members_come_and_go() {
    assert_snapshot!(text(&server::member_added("presence-a", "2", Some(r#"{"name":"B"}"#))), @r#"{"event":"pusher_internal:member_added","channel":"presence-a","data":"{\"user_id\":\"2\",\"user_info\":{\"name\":\"B\"}}"}"#);
    assert_snapshot!(text(&server::member_added("presence-a", "2", None)), @r#"{"event":"pusher_internal:member_added","channel":"presence-a","data":"{\"user_id\":\"2\"}"}"#);
    assert_snapshot!(text(&server::member_removed("presence-a", "2")), @r#"{"event":"pusher_internal:member_removed","channel":"presence-a","data":"{\"user_id\":\"2\"}"}"#);
}

#[test]
fn an_event_of_the_backend() {
    assert_snapshot!(text(&server::event("a", r"App\Events\OrderShipped", r#"{"id":9007199254740993,"n":"\u00e9\/"}"#)), @r#"{"event":"App\\Events\\OrderShipped","channel":"a","data":"{\"id\":9007199254740993,\"n\":\"\\u00e9\\/\"}"}"#);
    assert_snapshot!(text(&server::event("#server-to-user-7", "hello", "")), @r##"{"event":"hello","channel":"#server-to-user-7","data":""}"##);
}

#[test]
fn an_event_of_a_client() {
    assert_snapshot!(client_event(Some(r#"{"x": 1}"#), Some("0")), @r#"{"event":"client-typing","channel":"presence-a","data":"{\"x\": 1}","user_id":"0"}"#);
    assert_snapshot!(client_event(Some(r#""{\"x\":1}""#), Some("1")), @r#"{"event":"client-typing","channel":"presence-a","data":"{\"x\":1}","user_id":"1"}"#);
    assert_snapshot!(client_event(Some("7"), None), @r#"{"event":"client-typing","channel":"presence-a","data":"7"}"#);
    assert_snapshot!(client_event(Some("null"), None), @r#"{"event":"client-typing","channel":"presence-a"}"#);
    assert_snapshot!(client_event(None, None), @r#"{"event":"client-typing","channel":"presence-a"}"#);
}

#[test]
fn cache_miss() {
    assert_snapshot!(text(&server::cache_miss("cache-a")), @r#"{"event":"pusher:cache_miss","channel":"cache-a","data":"{}"}"#);
}

#[test]
fn subscription_count() {
    assert_snapshot!(text(&server::subscription_count("a", 13)), @r#"{"event":"pusher_internal:subscription_count","channel":"a","data":"{\"subscription_count\":13}"}"#);
}

#[test]
fn watchlist_events() {
    assert_snapshot!(text(&server::watchlist_events(&["8", "9"], &["10"])), @r#"{"event":"pusher_internal:watchlist_events","data":"{\"events\":[{\"name\":\"online\",\"user_ids\":[\"8\",\"9\"]},{\"name\":\"offline\",\"user_ids\":[\"10\"]}]}"}"#);
    assert_snapshot!(text(&server::watchlist_events(&[], &["10"])), @r#"{"event":"pusher_internal:watchlist_events","data":"{\"events\":[{\"name\":\"offline\",\"user_ids\":[\"10\"]}]}"}"#);
}

#[test]
fn signin_success() {
    assert_snapshot!(text(&server::signin_success(r#"{"id":"7"}"#)), @r#"{"event":"pusher:signin_success","data":"{\"user_data\":\"{\\\"id\\\":\\\"7\\\"}\"}"}"#);
}
