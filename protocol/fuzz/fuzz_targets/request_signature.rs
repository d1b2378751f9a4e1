//! Any method, path, query, body and prefix: checking must not panic or pass, and what we sign must pass.

#![no_main]

use gema_protocol::ApiRequest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str, &str, &[u8], &str, u64)| {
    let (method, path, query, body, prefix, now_s) = input;
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
});
