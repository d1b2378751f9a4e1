//! Signed requests: what is right, and each way to be wrong.

use proptest::prelude::*;

use super::*;

const KEY: &str = "278d425bdf160c739803";
const SECRET: &str = "7ad3773142a6692b25b8";
const NOW_S: u64 = 1_353_088_179;
const POST: ApiRequest<'_> = ApiRequest {
    method: "POST",
    path: "/apps/3/events",
    query: "auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=ec365a775a4cd0599faeb73354201b6f&auth_signature=da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c",
    body: br#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#,
};
const GET: ApiRequest<'_> = ApiRequest {
    method: "GET",
    path: "/apps/102015/channels",
    query: "filter_by_prefix=presence-&info=user_count&auth_key=d41a439c438a100756f5&auth_timestamp=1427034994&auth_version=1.0&auth_signature=4d8a02edcc8a758b0162cd6da690a9a45fb8ae326a276dca1e06a0bc42796c11",
    body: b"",
};

/// What is left of the good POST without one parameter.
fn without(name: &str) -> String {
    let pairs = POST.query.split('&').filter(|pair| !pair.starts_with(name));
    pairs.collect::<Vec<_>>().join("&")
}

fn refusal(query: &str) -> RequestError {
    ApiRequest { query, ..POST }
        .verify(KEY, SECRET, "", NOW_S)
        .unwrap_err()
}

#[test]
fn the_published_signatures_are_accepted_and_made() {
    assert_eq!(POST.verify(KEY, SECRET, "", NOW_S), Ok(()));
    assert_eq!(
        ApiRequest { query: "", ..POST }.sign(KEY, SECRET, NOW_S),
        POST.query
    );
    let (key, secret, now_s) = (
        "d41a439c438a100756f5",
        "4bf35003e819bb138249",
        1_427_034_994,
    );
    assert_eq!(GET.verify(key, secret, "", now_s), Ok(()));
    let signed = ApiRequest {
        query: "info=user_count&filter_by_prefix=presence-",
        ..GET
    }
    .sign(key, secret, now_s);
    assert!(signed.ends_with(
        "&auth_signature=4d8a02edcc8a758b0162cd6da690a9a45fb8ae326a276dca1e06a0bc42796c11"
    ));
}

#[test]
fn the_digests_of_the_protocol_page_are_ours() {
    assert_eq!(body_md5(b"{}"), "99914b932bd37a50b983c5e7c90ae93b");
    assert_eq!(body_md5(b""), "d41d8cd98f00b204e9800998ecf8427e");
    assert_eq!(body_md5(POST.body), "ec365a775a4cd0599faeb73354201b6f");
}

#[test]
fn the_clock_may_be_off_by_less_than_ten_minutes() {
    for now_s in [NOW_S - 599, NOW_S + 599] {
        assert_eq!(POST.verify(KEY, SECRET, "", now_s), Ok(()));
    }
    for now_s in [NOW_S - 600, NOW_S + 600] {
        let refused = POST.verify(KEY, SECRET, "", now_s).unwrap_err().to_string();
        let expected = format!("({NOW_S}) not within 600s of server time ({now_s})");
        assert!(refused.contains(&expected), "{refused}");
    }
}

#[test]
fn every_missing_or_foreign_parameter_is_named() {
    for (name, expected) in [
        ("auth_key", RequestError::MissingKey),
        ("auth_version", RequestError::MissingVersion),
        ("auth_timestamp", RequestError::MissingTimestamp),
        ("body_md5", RequestError::MissingBodyMd5),
        ("auth_signature", RequestError::MissingSignature),
    ] {
        assert_eq!(refusal(&without(name)), expected);
    }
    for (name, value, expected) in [
        ("auth_key", "278d425bdf160c739804", RequestError::UnknownKey),
        ("auth_version", "1.1", RequestError::Version),
        ("auth_timestamp", "-5", RequestError::BadTimestamp),
        (
            "body_md5",
            "d41d8cd98f00b204e9800998ecf8427e",
            RequestError::Body,
        ),
    ] {
        assert_eq!(
            refusal(&format!("{}&{name}={value}", without(name))),
            expected
        );
    }
}

#[test]
fn another_body_path_method_or_parameter_is_refused() {
    let refused = |request: ApiRequest<'_>| request.verify(KEY, SECRET, "", NOW_S).is_err();
    assert!(refused(ApiRequest {
        body: b"{}",
        ..POST
    }));
    assert!(refused(ApiRequest {
        path: "/apps/4/events",
        ..POST
    }));
    assert!(refused(ApiRequest {
        method: "PUT",
        ..POST
    }));
    assert!(refused(ApiRequest {
        query: &format!("{}&info=x", POST.query),
        ..POST
    }));
    assert!(POST.verify(KEY, "another secret", "", NOW_S).is_err());
}

#[test]
fn the_refusal_says_what_to_sign_and_not_with_what() {
    let query = format!("{}&auth_signature=beef", without("auth_signature"));
    let text = refusal(&query).to_string();
    assert!(
        text.contains(r#"HmacSHA256Hex("POST\n/apps/3/events\nauth_key=278d"#),
        "{text}"
    );
    assert!(text.ends_with(r#"but you sent "beef""#), "{text}");
    assert!(!text.contains(SECRET));
}

#[test]
fn the_digest_of_an_empty_body_is_signed_when_it_is_sent() {
    let digest = "d41d8cd98f00b204e9800998ecf8427e";
    let params =
        format!("auth_key={KEY}&auth_timestamp={NOW_S}&auth_version=1.0&body_md5={digest}");
    let signature = hex_hmac(
        SECRET,
        format!("GET\n/apps/3/channels\n{params}").as_bytes(),
    );
    let query = format!("{params}&auth_signature={signature}");
    let get = ApiRequest {
        method: "get",
        path: "/apps/3/channels",
        query: &query,
        body: b"",
    };
    assert_eq!(get.verify(KEY, SECRET, "", NOW_S), Ok(()));
}

#[test]
fn keys_count_in_lower_case_and_values_decoded() {
    let params = format!(
        "a[]=2&a[]=1&auth_key={KEY}&auth_timestamp={NOW_S}&auth_version=1.0&empty=&info=x,y z&name=é"
    );
    let signature = hex_hmac(
        SECRET,
        format!("GET\n/apps/3/channels\n{params}").as_bytes(),
    );
    let query = format!(
        "Info=x%2Cy+z&name=%C3%A9&Auth_Key={KEY}&auth_timestamp={NOW_S}&auth_version=1.0&empty&a%5B%5D=2&a[]=1&auth_signature={signature}"
    );
    let get = ApiRequest {
        method: "GET",
        path: "/apps/3/channels",
        query: &query,
        body: b"",
    };
    assert_eq!(get.verify(KEY, SECRET, "", NOW_S), Ok(()));
}

#[test]
fn the_path_may_be_signed_with_or_without_escapes_and_prefix() {
    let wire = "/ws/apps/3/channels/a%2Cb";
    for signed in [
        "/apps/3/channels/a,b",
        "/apps/3/channels/a%2Cb",
        "/ws/apps/3/channels/a,b",
        wire,
    ] {
        let query = ApiRequest {
            method: "GET",
            path: signed,
            query: "",
            body: b"",
        }
        .sign(KEY, SECRET, NOW_S);
        for path in [wire, "/apps/3/channels/a%2Cb"] {
            let get = ApiRequest {
                method: "GET",
                path,
                query: &query,
                body: b"",
            };
            for prefix in ["/ws", "/ws/"] {
                assert_eq!(
                    get.verify(KEY, SECRET, prefix, NOW_S),
                    Ok(()),
                    "{signed} {path}"
                );
            }
        }
        let get = ApiRequest {
            method: "GET",
            path: wire,
            query: &query,
            body: b"",
        };
        // Half a segment is no prefix.
        let whole = get.verify(KEY, SECRET, "/w", NOW_S).is_ok();
        assert_eq!(whole, signed.starts_with("/ws"), "{signed}");
    }
}

proptest! {
    #[test]
    fn what_is_signed_verifies_and_any_changed_byte_does_not(
        key in "[a-z0-9]{1,20}", secret in ".{0,40}", id in "[a-z0-9]{1,8}", body: Vec<u8>,
        info in "[a-z,%+]{0,20}", place: proptest::sample::Index, change in 1..128_u8,
    ) {
        let path = format!("/apps/{id}/events");
        let info = format!("info={info}");
        let verified = |query: &str, body: &[u8]| {
            let request = ApiRequest { method: "POST", path: &path, query, body };
            request.verify(&key, &secret, "", NOW_S)
        };
        let request = ApiRequest { method: "POST", path: &path, query: &info, body: &body };
        let query = request.sign(&key, &secret, NOW_S);
        prop_assert_eq!(verified(&query, &body), Ok(()));
        prop_assert!(verified(&query, &[&body[..], &[change]].concat()).is_err());

        // The signature ends the query: each byte of it matters.
        let mut changed = query.into_bytes();
        let place = changed.len() - 1 - place.index(64);
        changed[place] ^= change;
        prop_assert!(verified(std::str::from_utf8(&changed).unwrap(), &body).is_err());
    }

    #[test]
    fn no_request_harms_the_check(
        method in ".{0,8}", path in ".{0,40}", query in ".{0,80}", prefix in ".{0,8}", now_s: u64,
    ) {
        let request = ApiRequest { method: &method, path: &path, query: &query, body: b"" };
        prop_assert!(request.verify(KEY, SECRET, &prefix, now_s).is_err());
        let query = request.sign(KEY, SECRET, now_s);
        let signed = ApiRequest { query: &query, ..request };
        prop_assert_eq!(signed.verify(KEY, SECRET, "", now_s), Ok(()));
    }
}
