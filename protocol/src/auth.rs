//! The signatures that let a socket into a channel or sign it in as a user.
//!
//! `auth` is `KEY:hex`, the hex being the lower-case HMAC-SHA256, under the app's secret, of `socket:channel`, of
//! `socket:channel:channel_data`, or of `socket::user::user_data`. Source: Pusher's "Authentication signatures". The
//! signed text is what the client sent, byte for byte; it is never parsed and written again. The signature of a
//! webhook is the same hex over its body.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::socket_id::SocketId;

/// Signs a subscription, as an app's backend does: `KEY:hex`.
#[must_use]
pub fn sign_channel(
    key: &str,
    secret: &str,
    socket: &str,
    channel: &str,
    channel_data: Option<&str>,
) -> String {
    sign(key, secret, &channel_text(socket, channel, channel_data))
}

/// Checks the `auth` of a subscription. An empty `channel_data` is to be passed as `None`.
///
/// # Errors
/// The key is not this app's, or the signature is not that of this socket, channel and data.
pub fn verify_channel(
    auth: &str,
    key: &str,
    secret: &str,
    socket: SocketId,
    channel: &str,
    channel_data: Option<&str>,
) -> Result<(), AuthError> {
    verify(
        auth,
        key,
        secret,
        channel_text(&socket.to_string(), channel, channel_data),
    )
}

/// Signs a sign-in, as an app's backend does: `KEY:hex`.
#[must_use]
pub fn sign_user(key: &str, secret: &str, socket: &str, user_data: &str) -> String {
    sign(key, secret, &user_text(socket, user_data))
}

/// Checks the `auth` of a sign-in.
///
/// # Errors
/// The key is not this app's, or the signature is not that of this socket and user data.
pub fn verify_user(
    auth: &str,
    key: &str,
    secret: &str,
    socket: SocketId,
    user_data: &str,
) -> Result<(), AuthError> {
    verify(auth, key, secret, user_text(&socket.to_string(), user_data))
}

/// The key with which the clients of one encrypted channel decrypt: SHA-256 of the channel's name and the app's master
/// key. It goes to clients in base64, and never over the socket.
#[must_use]
pub fn shared_secret(master: &[u8; 32], channel: &str) -> [u8; 32] {
    channel_key(master, channel)
}

/// Signs the body of a webhook: the lower-case hex that goes into its header `X-Pusher-Signature`. Source: Pusher's
/// "Webhooks", section on authentication.
#[must_use]
pub fn sign_webhook(secret: &str, body: &[u8]) -> String {
    hex_hmac(secret, body)
}

/// Why a signature was refused. The texts tell a developer what to compare; they hold nothing the client lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The part before the colon is not the app's key.
    #[error("Invalid key in subscription auth data: '{given}'")]
    WrongKey {
        /// That part.
        given: String,
    },
    /// The part after the colon is not the signature of what it should sign.
    #[error("Invalid signature: Expected HMAC SHA256 hex digest of {expected_of}, but got {given}")]
    BadSignature {
        /// The text to sign.
        expected_of: String,
        /// That part.
        given: String,
    },
}

/// HMAC-SHA256 of `text` under the app's secret, ready to be compared.
pub(crate) fn hmac(secret: &str, text: &[u8]) -> Hmac<Sha256> {
    #[expect(
        clippy::expect_used,
        reason = "HMAC is defined for keys of any length (RFC 2104 section 2)"
    )]
    let mut hmac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length");
    hmac.update(text);
    hmac
}

/// The same as lower-case hex.
pub(crate) fn hex_hmac(secret: &str, text: &[u8]) -> String {
    hex::encode(hmac(secret, text).finalize().into_bytes())
}

/// Whether `given` is the lower-case hex of this HMAC; the time taken does not depend on how much of it is right.
pub(crate) fn is_hex_of(given: &str, expected: Hmac<Sha256>) -> bool {
    let mut tag = [0; 32];
    // One spelling only: a signature is then as unique as the bytes it stands for.
    let lower_case = !given.bytes().any(|b| b.is_ascii_uppercase());
    lower_case
        && hex::decode_to_slice(given, &mut tag).is_ok()
        && expected.verify_slice(&tag).is_ok()
}

/// Compares what one side must not learn, in a time that depends on the lengths alone. This and [`is_hex_of`] are the only
/// ways in which a secret, a token or a signature is compared, JWTs apart, whose library has its own.
#[must_use]
pub fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

fn channel_text(socket: &str, channel: &str, channel_data: Option<&str>) -> String {
    match channel_data {
        Some(data) => format!("{socket}:{channel}:{data}"),
        None => format!("{socket}:{channel}"),
    }
}

fn user_text(socket: &str, user_data: &str) -> String {
    format!("{socket}::user::{user_data}")
}

fn sign(key: &str, secret: &str, text: &str) -> String {
    format!("{key}:{}", hex_hmac(secret, text.as_bytes()))
}

fn verify(auth: &str, key: &str, secret: &str, text: String) -> Result<(), AuthError> {
    // From the right: hex holds no colon, a key might.
    let (given_key, signature) = auth.rsplit_once(':').unwrap_or((auth, ""));
    if !same(given_key, key) {
        return Err(AuthError::WrongKey {
            given: given_key.to_owned(),
        });
    }
    if !is_hex_of(signature, hmac(secret, text.as_bytes())) {
        return Err(AuthError::BadSignature {
            expected_of: text,
            given: signature.to_owned(),
        });
    }
    Ok(())
}

fn channel_key(master: &[u8], channel: &str) -> [u8; 32] {
    Sha256::new()
        .chain_update(channel)
        .chain_update(master)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    const KEY: &str = "278d425bdf160c739803";
    const SECRET: &str = "7ad3773142a6692b25b8";
    const SOCKET: SocketId = SocketId {
        node: 1234,
        number: 1234,
    };
    const CHANNELS: [&str; 3] = ["private-foobar", "presence-foobar", "presence-foobar"];
    const DATA: [Option<&str>; 3] = [
        None,
        Some(r#"{"user_id":10,"user_info":{"name":"Mr. Channels"}}"#),
        Some(r#"{"user_id":10,"user_info":{"name":"Mr. Pusher"}}"#),
    ];
    const HEX: [&str; 3] = [
        "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4",
        "31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80",
        "afaed3695da2ffd16931f457e338e6c9f2921fa133ce7dac49f529792be6304c",
    ];

    #[test]
    fn the_published_channel_signatures_are_ours() {
        for ((channel, data), hex) in CHANNELS.into_iter().zip(DATA).zip(HEX) {
            let auth = format!("{KEY}:{hex}");
            assert_eq!(sign_channel(KEY, SECRET, "1234.1234", channel, data), auth);
            assert_eq!(
                verify_channel(&auth, KEY, SECRET, SOCKET, channel, data),
                Ok(())
            );
        }
    }

    #[test]
    fn the_published_user_signature_is_ours() {
        let user_data = r#"{"id":"12345"}"#;
        let auth =
            format!("{KEY}:4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba");
        assert_eq!(sign_user(KEY, SECRET, "1234.1234", user_data), auth);
        assert_eq!(verify_user(&auth, KEY, SECRET, SOCKET, user_data), Ok(()));
    }

    #[test]
    fn the_known_webhook_signatures_are_ours() {
        for (secret, signature) in [
            (
                "thisisasecret",
                "40e0ad3b9aa49529322879e84de1aaaf18bde1efe839ca263d540cc865510d25",
            ),
            (
                "secret",
                "2677ad3e7c090b2fa2c0fb13020d66d5420879b8316eb356a2d60fb9073bc778",
            ),
        ] {
            assert_eq!(sign_webhook(secret, br#"{"hello":"world"}"#), signature);
        }
    }

    #[test]
    fn the_published_channel_key_is_ours() {
        let master = b"This is a string that is 32 chars"; // the sample is of 33 bytes
        let key = "004831f99d2a4e86723e893caded3a2897deeddbed9514fe9497dcddc52bd50b";
        assert_eq!(
            hex::encode(channel_key(master, "private-encrypted-bla")),
            key
        );
        assert_eq!(shared_secret(&[7; 32], "a"), channel_key(&[7; 32], "a"));
    }

    #[test]
    fn a_foreign_key_is_refused_even_with_a_good_signature() {
        for auth in [
            format!("other:{}", HEX[0]),
            HEX[0].to_owned(),
            format!(":{}", HEX[0]),
            String::new(),
        ] {
            let refused = verify_channel(&auth, KEY, SECRET, SOCKET, CHANNELS[0], None);
            assert!(matches!(refused, Err(AuthError::WrongKey { .. })), "{auth}");
        }
    }

    #[test]
    fn the_refusal_names_the_text_to_sign() {
        let auth = format!("{KEY}:{}", HEX[0]);
        let refused =
            verify_channel(&auth, KEY, SECRET, SOCKET, "private-other", Some("{}")).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("1234.1234:private-other:{}, but got 58df8b"),
            "{refused}"
        );
        assert!(!refused.to_string().contains(SECRET));
    }

    #[test]
    fn only_the_full_lower_case_signature_counts() {
        for signature in [
            "",
            "58",
            &HEX[0][..62],
            &HEX[0].to_uppercase(),
            &format!("{}00", HEX[0]),
        ] {
            let refused = verify_channel(
                &format!("{KEY}:{signature}"),
                KEY,
                SECRET,
                SOCKET,
                CHANNELS[0],
                None,
            );
            assert!(
                matches!(refused, Err(AuthError::BadSignature { .. })),
                "{signature}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_signed_verifies_and_any_changed_byte_does_not(
            key in "[a-z0-9:]{1,20}", secret in ".{0,80}", node: u64, number: u64,
            channel in "[a-z-]{1,30}", data in proptest::option::of("\\PC{1,60}"),
            place: Index, change in 1..128_u8,
        ) {
            let socket = SocketId { node, number };
            let auth = sign_channel(&key, &secret, &socket.to_string(), &channel, data.as_deref());
            prop_assert_eq!(verify_channel(&auth, &key, &secret, socket, &channel, data.as_deref()), Ok(()));

            let mut changed = auth.into_bytes();
            let place = place.index(changed.len());
            changed[place] ^= change; // stays ASCII
            let changed = String::from_utf8(changed).unwrap();
            prop_assert!(verify_channel(&changed, &key, &secret, socket, &channel, data.as_deref()).is_err());
        }

        #[test]
        fn a_signature_is_for_one_socket_one_channel_and_one_data(
            channel in "[a-z-]{1,30}", other in "[a-z-]{1,30}", data in "\\PC{1,60}",
        ) {
            prop_assume!(channel != other);
            let auth = sign_channel(KEY, SECRET, "1234.1234", &channel, Some(&data));
            prop_assert!(verify_channel(&auth, KEY, SECRET, SOCKET, &other, Some(&data)).is_err());
            prop_assert!(verify_channel(&auth, KEY, SECRET, SOCKET, &channel, None).is_err());
            let elsewhere = SocketId { node: 1234, number: 1235 };
            prop_assert!(verify_channel(&auth, KEY, SECRET, elsewhere, &channel, Some(&data)).is_err());
            prop_assert!(verify_user(&auth, KEY, SECRET, SOCKET, &data).is_err());
        }
    }
}
