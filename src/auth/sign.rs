//! What a user with a valid token gets signed: a subscription that the rules allow, or a sign-in.
//! The answers are those that Pusher clients expect of an app's auth endpoint ("Authorizing users").

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gema_protocol::auth::{shared_secret, sign_channel, sign_user};
use gema_protocol::{Access, ChannelName, SocketId, User};
use serde::Serialize;

use super::identity::UserInfo;
use super::{Authorizer, Identity, Refusal};

/// The keys of the app that signs.
#[derive(Clone, Copy)]
pub struct AppKeys<'a> {
    /// The public key, which heads every signature.
    pub key: &'a str,
    /// The secret that signs.
    pub secret: &'a str,
    /// From it the keys of encrypted channels are derived.
    pub encryption_master_key: Option<&'a [u8; 32]>,
}

/// The answer that lets a socket into a channel; it serializes to the JSON that clients expect.
#[derive(Serialize)]
pub struct ChannelGrant {
    /// The signature.
    pub auth: String,
    /// Presence channels: JSON with the member's id and what the others see, byte for byte as signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_data: Option<String>,
    /// Encrypted channels: base64 of the 32 bytes that decrypt this one channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_secret: Option<String>,
}

/// The answer that signs a socket in; it serializes to the JSON that clients expect.
#[derive(Serialize)]
pub struct UserGrant {
    /// The signature.
    pub auth: String,
    /// JSON with the user's id, what others see, and the roles; byte for byte as signed.
    pub user_data: String,
}

#[derive(Serialize)]
struct ChannelData<'a> {
    user_id: &'a str,
    user_info: UserInfo<'a>,
}

#[derive(Serialize)]
struct UserData<'a> {
    id: &'a str,
    user_info: UserInfo<'a>,
    roles: &'a [String],
}

impl Authorizer {
    /// Signs this socket's subscription to `channel` if the rules allow it to the user.
    ///
    /// # Errors
    /// Why not, for a 403 answer, or a 503 if [`Refusal::is_ours`].
    pub async fn authorize_channel(
        &self,
        app: &AppKeys<'_>,
        identity: &Identity,
        socket: SocketId,
        channel: &ChannelName,
    ) -> Result<ChannelGrant, Refusal> {
        let name = channel.as_str();
        let access = channel.kind().access;
        let asked = || name.to_owned();
        match access {
            Access::Public => return Err(Refusal::Public { channel: asked() }),
            Access::ServerToUser => return Err(Refusal::ServerToUser { channel: asked() }),
            Access::Private | Access::Encrypted | Access::Presence => {}
        }
        self.permit(identity, name).await?;
        let shared_secret = match (access, app.encryption_master_key) {
            (Access::Encrypted, None) => return Err(Refusal::NoMasterKey { channel: asked() }),
            (Access::Encrypted, Some(master)) => Some(STANDARD.encode(shared_secret(master, name))),
            _ => None,
        };
        let channel_data = (access == Access::Presence).then(|| {
            json(&ChannelData {
                user_id: &identity.user_id,
                user_info: identity.info(&self.settings.user_info),
            })
        });
        let socket = socket.to_string();
        Ok(ChannelGrant {
            auth: sign_channel(app.key, app.secret, &socket, name, channel_data.as_deref()),
            channel_data,
            shared_secret,
        })
    }

    /// Signs this socket in as the user.
    pub fn authorize_user(
        &self,
        app: &AppKeys<'_>,
        identity: &Identity,
        socket: SocketId,
    ) -> UserGrant {
        let user_data = json(&UserData {
            id: &identity.user_id,
            user_info: identity.info(&self.settings.user_info),
            roles: &identity.roles,
        });
        UserGrant {
            auth: sign_user(app.key, app.secret, &socket.to_string(), &user_data),
            user_data,
        }
    }

    /// The user as whom a connection that came with this token is signed in: the same as by [`Self::authorize_user`].
    pub fn user(&self, identity: &Identity) -> User {
        User {
            id: identity.user_id.as_str().into(),
            user_info: Some(json(&identity.info(&self.settings.user_info)).into()),
            roles: identity.roles.clone(),
            watchlist: Vec::new(),
            watchlist_cut: false,
        }
    }
}

fn json(value: &impl Serialize) -> String {
    #[expect(
        clippy::expect_used,
        reason = "texts, lists of texts and JSON values under text keys always serialize"
    )]
    serde_json::to_string(value).expect("serializable")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use gema_protocol::auth::{verify_channel, verify_user};
    use serde_json::{Value, json};

    use super::super::tests::fixtures;
    use super::super::{AuthSettings, Rule};
    use super::*;

    const SOCKET: SocketId = SocketId {
        node: 1234,
        number: 1234,
    };
    const MASTER: [u8; 32] = [7; 32];

    fn app(encryption_master_key: Option<&[u8; 32]>) -> AppKeys<'_> {
        AppKeys {
            key: "key",
            secret: "secret",
            encryption_master_key,
        }
    }

    fn authorizer() -> Authorizer {
        let open =
            |channel| Rule::parse(channel, None, Vec::new(), &BTreeMap::new(), None).unwrap();
        Authorizer::new(AuthSettings {
            user_info: vec!["name".into(), "team".into(), "photo".into()],
            rules: vec![open("private-{x}"), open("presence-{x}"), open("{any}")],
            ..fixtures::settings()
        })
        .unwrap()
    }

    fn ada() -> Identity {
        let claims = json!({ "sub": 7, "name": "Ada", "team": { "id": 1 }, "roles": ["admin"] });
        Identity::read(fixtures::map(claims), &fixtures::settings()).unwrap()
    }

    async fn grant(channel: &str, master: Option<&[u8; 32]>) -> Result<ChannelGrant, Refusal> {
        let channel = ChannelName::parse(channel, 200).unwrap();
        authorizer()
            .authorize_channel(&app(master), &ada(), SOCKET, &channel)
            .await
    }

    #[tokio::test]
    async fn a_private_channel_gets_a_signature_and_nothing_else() {
        let granted = grant("private-a", Some(&MASTER)).await.ok().unwrap();
        verify_channel(&granted.auth, "key", "secret", SOCKET, "private-a", None).unwrap();
        let body = serde_json::to_value(&granted).unwrap();
        assert_eq!(body, json!({ "auth": granted.auth }));
    }

    #[tokio::test]
    async fn a_presence_channel_gets_the_listed_claims_signed_as_they_stand() {
        let granted = grant("presence-a", None).await.ok().unwrap();
        let data = granted.channel_data.as_deref().unwrap();
        let expected = r#"{"user_id":"7","user_info":{"name":"Ada","team":{"id":1}}}"#;
        assert_eq!(data, expected);
        let verified = verify_channel(
            &granted.auth,
            "key",
            "secret",
            SOCKET,
            "presence-a",
            Some(data),
        );
        assert_eq!(verified, Ok(()));
    }

    #[tokio::test]
    async fn an_encrypted_channel_gets_its_key_or_the_setting_that_is_missing() {
        let name = "private-encrypted-a";
        let granted = grant(name, Some(&MASTER)).await.ok().unwrap();
        let expected = STANDARD.encode(gema_protocol::auth::shared_secret(&MASTER, name));
        assert_eq!(granted.shared_secret, Some(expected));
        verify_channel(&granted.auth, "key", "secret", SOCKET, name, None).unwrap();
        let refusal = grant(name, None).await.err().unwrap().to_string();
        assert!(refusal.contains("apps.encryption_master_key"), "{refusal}");
    }

    #[tokio::test]
    async fn public_and_user_channels_are_never_signed_whatever_the_rules_say() {
        let refusal = grant("orders", None).await.err().unwrap();
        assert!(matches!(refusal, Refusal::Public { .. }));
        let refusal = grant("#server-to-user-7", None).await.err().unwrap();
        assert!(matches!(refusal, Refusal::ServerToUser { .. }));
    }

    #[tokio::test]
    async fn a_channel_without_a_rule_is_not_signed() {
        let refusal = grant("private-a.b", None).await.err().unwrap();
        let text = "No rule in auth.channels is about channel private-a.b";
        assert_eq!(refusal.to_string(), text);
    }

    #[test]
    fn a_sign_in_carries_id_info_and_roles_and_is_read_back_as_the_same_user() {
        let authorizer = authorizer();
        let granted = authorizer.authorize_user(&app(None), &ada(), SOCKET);
        verify_user(&granted.auth, "key", "secret", SOCKET, &granted.user_data).unwrap();
        let data: Value = serde_json::from_str(&granted.user_data).unwrap();
        let info = json!({ "name": "Ada", "team": { "id": 1 } });
        assert_eq!(
            data,
            json!({ "id": "7", "user_info": info, "roles": ["admin"] })
        );
        assert_eq!(
            User::parse(&granted.user_data).unwrap(),
            authorizer.user(&ada())
        );
    }
}
