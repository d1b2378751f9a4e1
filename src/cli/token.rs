//! `gema token`: a JWT for development, as the issuer of `[auth]` would sign it.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value, json};

use super::{CommandError, block_on, output, sources};
use crate::auth::{AuthSettings, Authorizer, KeySource};
use crate::clock;
use crate::config::Config;

/// A year: longer is a slip.
const LONGEST_S: u64 = 366 * 24 * 3600;

/// Make a development token (JWT) with auth.jwt_secret
///
/// The claims stand where auth.claim_user, claim_name and claim_roles say, with auth.jwt_issuer and jwt_audience if they are
/// set. Only for development: whoever has the secret can be any user.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  gema token --user 7 --role admin\n  \
                  gema token --user 7 --claim rooms='[\"1\",\"2\"]' --ttl 60\n  \
                  curl -H \"Authorization: Bearer $(gema token --user 7)\" http://127.0.0.1:6001/api/chats/")]
pub(super) struct Args {
    #[command(flatten)]
    who: Who,
    /// TOML file with auth.jwt_secret; JWT_SECRET in the environment sets it too
    #[arg(long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// Print the token and its claims as JSON
    #[arg(long)]
    json: bool,
}

/// For whom the token speaks.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Who {
    /// Id of the user
    #[arg(long, value_name = "ID")]
    pub(super) user: String,
    /// Name of the user
    #[arg(long)]
    name: Option<String>,
    /// A role of the user; may be given several times
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// Another claim; a value that is JSON is taken as that, any other as text
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = claim)]
    claims: Vec<(String, Value)>,
    /// Seconds for which it is good
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=LONGEST_S))]
    ttl: u64,
}

impl Who {
    /// A user without anything but an id, for a minute.
    pub(super) fn only(user: &str) -> Who {
        Who {
            user: user.to_owned(),
            ttl: 60,
            ..Who::default()
        }
    }
}

pub(super) fn run(args: Args) -> Result<(), CommandError> {
    let config = Config::load(&sources(args.config))?;
    let settings = config.auth.settings;
    let (token, claims) = make(&settings, args.who)?;
    block_on(believed(settings, &token))?;
    let shown = match args.json {
        true => json!({ "token": token, "claims": claims }).to_string(),
        false => token,
    };
    output::last_line(&shown);
    Ok(())
}

/// The token and its claims.
///
/// # Errors
/// The setting that does not let us sign.
pub(super) fn make(
    settings: &AuthSettings,
    who: Who,
) -> Result<(String, Map<String, Value>), CommandError> {
    let secret = secret(&settings.key).map_err(CommandError::Usage)?;
    let now_s = clock::unix_s();
    let mut claims = Map::new();
    claims.insert(settings.claim_user.clone(), who.user.into());
    if let Some(name) = who.name {
        claims.insert(settings.claim_name.clone(), name.into());
    }
    if !who.roles.is_empty() {
        claims.insert(settings.claim_roles.clone(), who.roles.into());
    }
    for (claim, value) in [("iss", &settings.issuer), ("aud", &settings.audience)] {
        if let Some(value) = value {
            claims.insert(claim.to_owned(), value.clone().into());
        }
    }
    claims.insert("iat".to_owned(), now_s.into());
    claims.insert("exp".to_owned(), (now_s + who.ttl).into());
    // Last: who names a claim means it, to see what a wrong one does.
    claims.extend(who.claims);
    let key = EncodingKey::from_secret(secret.as_bytes());
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key);
    let token = token.map_err(|error| CommandError::Failed(error.to_string()))?;
    Ok((token, claims))
}

/// The server would say the same; better to hear it here.
async fn believed(settings: AuthSettings, token: &str) -> Result<(), CommandError> {
    let authorizer =
        Authorizer::new(settings).map_err(|error| CommandError::Usage(error.to_string()))?;
    match authorizer.authenticate(token).await {
        Ok(_) => Ok(()),
        Err(error) => Err(CommandError::Usage(format!(
            "the server would not believe this token: {error}"
        ))),
    }
}

/// What to sign with, or why there is nothing.
fn secret(key: &KeySource) -> Result<&str, String> {
    let elsewhere = |setting: &str| {
        format!(
            "{setting} is set, so tokens are signed with a private key that is not here; ask whoever issues them, or set \
             auth.jwt_secret instead, for development"
        )
    };
    match key {
        KeySource::Secret(secret) => Ok(secret),
        KeySource::PublicKeyPem { .. } => Err(elsewhere("auth.jwt_public_key")),
        KeySource::Jwks(_) => Err(elsewhere("auth.jwks_url")),
        KeySource::None => Err(
            "auth.jwt_secret is not set; set jwt_secret under [auth] in the --config, or JWT_SECRET in the environment, \
             here and for the server alike"
                .to_owned(),
        ),
    }
}

fn claim(given: &str) -> Result<(String, Value), String> {
    let (name, value) = given
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or("write it as NAME=VALUE, such as rooms='[\"1\"]' or team=blue")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_json_where_they_can_be_and_text_elsewhere() {
        assert_eq!(claim("a=[1]").unwrap(), ("a".to_owned(), json!([1])));
        assert_eq!(claim("a=b=c").unwrap(), ("a".to_owned(), json!("b=c")));
        assert_eq!(claim("a=").unwrap(), ("a".to_owned(), json!("")));
        assert!(claim("a").is_err() && claim("=a").is_err());
    }

    #[test]
    fn a_setting_that_keeps_the_key_elsewhere_is_named() {
        let jwks = KeySource::Jwks("https://example.com/keys".to_owned());
        let pem = KeySource::PublicKeyPem {
            path: "key.pem".into(),
            pem: Vec::new(),
        };
        for (key, setting) in [
            (jwks, "auth.jwks_url"),
            (pem, "auth.jwt_public_key"),
            (KeySource::None, "auth.jwt_secret is not set"),
        ] {
            let said = secret(&key).unwrap_err();
            assert!(said.starts_with(setting), "{said}");
        }
    }
}
