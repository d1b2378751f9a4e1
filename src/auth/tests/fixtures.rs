//! What the tests of this module share: settings, keys made on the spot, tokens, and an issuer that serves a key set.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::auth::{AuthSettings, KeySource};

/// The time at which these tests take place, in seconds since 1970.
pub(super) const NOW: u64 = 1_800_000_000;

/// The defaults of the config, with a secret.
pub(in crate::auth) fn settings() -> AuthSettings {
    AuthSettings {
        key: KeySource::Secret("test secret".into()),
        issuer: None,
        audience: None,
        claim_user: "sub".into(),
        claim_name: "name".into(),
        claim_roles: "roles".into(),
        user_info: vec!["name".into()],
        rules: Vec::new(),
        guards: Vec::new(),
    }
}

pub(in crate::auth) fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("not an object: {other}"),
    }
}

/// The claims of a user of whom all is known.
pub(super) fn ada() -> Value {
    json!({ "sub": 7, "name": "Ada", "roles": ["admin"] })
}

/// An issuer's key pair.
pub(super) struct Pair {
    pub(super) algorithm: Algorithm,
    pub(super) public_pem: String,
    pub(super) private_pem: String,
    private: EncodingKey,
    public_raw: Vec<u8>,
}

impl Pair {
    pub(super) fn new(algorithm: Algorithm) -> Pair {
        let pair = match algorithm {
            Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512 => {
                KeyPair::generate_for(&PKCS_RSA_SHA256)
            }
            Algorithm::ES256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            Algorithm::ES384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            Algorithm::EdDSA => KeyPair::generate_for(&PKCS_ED25519),
            other => panic!("no key pair for {other:?}"),
        };
        let pair = pair.unwrap();
        let private_pem = pair.serialize_pem();
        let pem = private_pem.as_bytes();
        let private = match algorithm {
            Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(pem),
            Algorithm::EdDSA => EncodingKey::from_ed_pem(pem),
            _ => EncodingKey::from_rsa_pem(pem),
        };
        Pair {
            algorithm,
            public_pem: pair.public_key_pem(),
            public_raw: pair.public_key_raw().to_vec(),
            private: private.unwrap(),
            private_pem,
        }
    }

    /// Settings that trust this pair's public key.
    pub(super) fn settings(&self) -> AuthSettings {
        AuthSettings {
            key: KeySource::PublicKeyPem {
                path: "key.pem".into(),
                pem: self.public_pem.clone().into_bytes(),
            },
            ..settings()
        }
    }

    pub(super) fn token(&self, kid: Option<&str>, claims: &Value) -> String {
        self.token_as(self.algorithm, kid, claims)
    }

    pub(super) fn token_as(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
        claims: &Value,
    ) -> String {
        let mut header = Header::new(algorithm);
        header.kid = kid.map(str::to_owned);
        jsonwebtoken::encode(&header, claims, &self.private).unwrap()
    }

    pub(super) fn jwk(&self, kid: Option<&str>) -> Value {
        let mut jwk = match self.algorithm {
            // The library reads Ed25519 keys of RFC 8410's first version only; rcgen writes the second (RFC 5958).
            Algorithm::EdDSA => {
                let x = URL_SAFE_NO_PAD.encode(&self.public_raw);
                json!({ "kty": "OKP", "crv": "Ed25519", "x": x })
            }
            algorithm => json!(Jwk::from_encoding_key(&self.private, algorithm).unwrap()),
        };
        if let Some(kid) = kid {
            jwk["kid"] = json!(kid);
        }
        jwk
    }
}

/// An HS256 token.
pub(super) fn hmac_token(secret: &[u8], claims: &Value) -> String {
    let header = Header::new(Algorithm::HS256);
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(secret)).unwrap()
}

/// Serves a key set over HTTP on a port of its own, and counts how often it is asked.
pub(super) struct Issuer {
    pub(super) url: String,
    answer: Arc<Mutex<(u16, String)>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    pub(super) async fn start(keys: &[Value]) -> Issuer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new((200, json!({ "keys": keys }).to_string())));
        let asked = Arc::new(AtomicUsize::new(0));
        let issuer = Issuer {
            url,
            answer: answer.clone(),
            asked: asked.clone(),
        };
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    if socket.read_buf(&mut request).await.unwrap_or(0) == 0 {
                        break;
                    }
                }
                asked.fetch_add(1, Ordering::SeqCst);
                let (status, body) = answer.lock().unwrap().clone();
                let head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n");
                let reply = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
                // The client may hang up on an answer it will not read to the end.
                let _ = socket.write_all(reply.as_bytes()).await;
            }
        });
        issuer
    }

    pub(super) fn publish(&self, keys: &[Value]) {
        self.answer(200, json!({ "keys": keys }).to_string());
    }

    pub(super) fn answer(&self, status: u16, body: String) {
        *self.answer.lock().unwrap() = (status, body);
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub(super) fn settings(&self) -> AuthSettings {
        AuthSettings {
            key: KeySource::Jwks(self.url.clone()),
            ..settings()
        }
    }
}
