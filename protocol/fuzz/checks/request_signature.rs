//! Any method, path, query, body and prefix: checking must not panic or pass, and what we sign must pass.

use gema_protocol::ApiRequest;

/// Fails by panicking. A line each for method, path, query, prefix and time; what is left is the body.
pub fn check(bytes: &[u8]) {
    let mut parts = bytes.splitn(6, |byte| *byte == b'\n');
    let mut line = || {
        let line = parts.next().unwrap_or_default();
        std::str::from_utf8(line).unwrap_or_default()
    };
    let (method, path, query, prefix) = (line(), line(), line(), line());
    let now_s: u64 = line().parse().unwrap_or_default();
    let body = parts.next().unwrap_or_default();
    let request = ApiRequest {
        method,
        path,
        query,
        body,
    };
    assert!(
        request.verify("key", "secret", prefix, now_s).is_err(),
        "a guessed signature"
    );

    let query = request.sign("key", "secret", now_s);
    let signed = ApiRequest {
        query: &query,
        ..request
    };
    assert_eq!(signed.verify("key", "secret", "", now_s), Ok(()));
    assert!(signed.verify("key", "another", "", now_s).is_err());
    assert!(
        signed
            .verify("key", "secret", "", now_s.wrapping_add(600))
            .is_err()
    );
}
