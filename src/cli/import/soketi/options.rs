//! Soketi's options as a tree, whatever way they were written: nested objects, paths with dots, variables.

use serde_json::{Map, Value, json};

use crate::cli::import::value::parsed;

/// The variables, without SOKETI_, and the options that they set; those of DEFAULT_APP_ are the first app's.
const VARIABLES: &[(&str, &str)] = &[
    ("ADAPTER_DRIVER", "adapter.driver"),
    ("ADAPTER_REDIS_CLUSTER_MODE", "adapter.redis.clusterMode"),
    ("ADAPTER_REDIS_PREFIX", "adapter.redis.prefix"),
    ("APP_MANAGER_DRIVER", "appManager.driver"),
    ("CHANNEL_CACHE_TTL", "channelLimits.cacheTtl"),
    (
        "CHANNEL_LIMITS_MAX_NAME_LENGTH",
        "channelLimits.maxNameLength",
    ),
    ("DB_REDIS_CLUSTER_NODES", "database.redis.clusterNodes"),
    ("DB_REDIS_DB", "database.redis.db"),
    ("DB_REDIS_HOST", "database.redis.host"),
    ("DB_REDIS_INSTANCE_NAME", "database.redis.name"),
    ("DB_REDIS_KEY_PREFIX", "database.redis.keyPrefix"),
    ("DB_REDIS_PASSWORD", "database.redis.password"),
    ("DB_REDIS_PORT", "database.redis.port"),
    ("DB_REDIS_SENTINELS", "database.redis.sentinels"),
    (
        "DB_REDIS_SENTINEL_PASSWORD",
        "database.redis.sentinelPassword",
    ),
    ("DB_REDIS_USERNAME", "database.redis.username"),
    ("DEBUG", "debug"),
    ("DEFAULT_APP_ENABLED", "enabled"),
    ("DEFAULT_APP_ENABLE_CLIENT_MESSAGES", "enableClientMessages"),
    ("DEFAULT_APP_ID", "id"),
    ("DEFAULT_APP_KEY", "key"),
    (
        "DEFAULT_APP_MAX_BACKEND_EVENTS_PER_SEC",
        "maxBackendEventsPerSecond",
    ),
    (
        "DEFAULT_APP_MAX_CLIENT_EVENTS_PER_SEC",
        "maxClientEventsPerSecond",
    ),
    ("DEFAULT_APP_MAX_CONNS", "maxConnections"),
    (
        "DEFAULT_APP_MAX_READ_REQ_PER_SEC",
        "maxReadRequestsPerSecond",
    ),
    ("DEFAULT_APP_SECRET", "secret"),
    (
        "DEFAULT_APP_USER_AUTHENTICATION",
        "enableUserAuthentication",
    ),
    ("DEFAULT_APP_WEBHOOKS", "webhooks"),
    ("EVENT_MAX_BATCH_SIZE", "eventLimits.maxBatchSize"),
    (
        "EVENT_MAX_CHANNELS_AT_ONCE",
        "eventLimits.maxChannelsAtOnce",
    ),
    ("EVENT_MAX_NAME_LENGTH", "eventLimits.maxNameLength"),
    ("EVENT_MAX_SIZE_IN_KB", "eventLimits.maxPayloadInKb"),
    ("HOST", "host"),
    ("PATH_PREFIX", "pathPrefix"),
    ("PORT", "port"),
    ("PRESENCE_MAX_MEMBERS", "presence.maxMembersPerChannel"),
    ("PRESENCE_MAX_MEMBER_SIZE", "presence.maxMemberSizeInKb"),
    ("SHUTDOWN_GRACE_PERIOD", "shutdownGracePeriod"),
    ("SSL_CERT", "ssl.certPath"),
    ("SSL_KEY", "ssl.keyPath"),
    ("METRICS_ENABLED", "metrics.enabled"),
    ("METRICS_SERVER_PORT", "metrics.port"),
    ("METRICS_HOST", "metrics.host"),
    ("METRICS_PROMETHEUS_PREFIX", "metrics.prometheus.prefix"),
    ("QUEUE_DRIVER", "queue.driver"),
    ("RATE_LIMITER_DRIVER", "rateLimiter.driver"),
    ("SSL_PASS", "ssl.passphrase"),
    ("WEBHOOKS_BATCHING", "webhooks.batching.enabled"),
    ("WEBHOOKS_BATCHING_DURATION", "webhooks.batching.duration"),
];

/// Options as Soketi has them: nested objects, whatever way they were written.
#[derive(Debug, Default)]
pub(in crate::cli::import) struct Options {
    tree: Map<String, Value>,
    /// Whether any file was Soketi's.
    pub(super) given: bool,
}

impl Options {
    /// Lays a file over what is known: `{"a.b": 1}` is as good as `{"a": {"b": 1}}`.
    pub(in crate::cli::import) fn lay(&mut self, file: Value) {
        self.given = true;
        if let Value::Object(options) = file {
            for (path, value) in options {
                self.set(&path, value);
            }
        }
    }

    /// Lays a variable over it; `name` is without SOKETI_. Gives whether there is such a one.
    pub(in crate::cli::import) fn lay_variable(&mut self, name: &str, value: String) -> bool {
        let Some((name, path)) = VARIABLES.iter().find(|(known, _)| *known == name) else {
            return false;
        };
        self.given = true;
        match name.starts_with("DEFAULT_APP_") {
            true => self.set_in_first_app(path, value.into()),
            false => self.set(path, value.into()),
        }
        true
    }

    fn set(&mut self, path: &str, value: Value) {
        let mut table = &mut self.tree;
        let mut rest = path;
        while let Some((step, below)) = rest.split_once('.') {
            let next = table.entry(step).or_insert_with(|| json!({}));
            if !next.is_object() {
                *next = json!({});
            }
            let Value::Object(inner) = next else { return };
            (table, rest) = (inner, below);
        }
        match (table.get_mut(rest), value) {
            (Some(Value::Object(known)), Value::Object(more)) => known.extend(more),
            (_, value) => {
                table.insert(rest.to_owned(), value);
            }
        }
    }

    /// Sets a key of the first app, which is there afterwards.
    fn set_in_first_app(&mut self, key: &str, value: Value) {
        let mut apps = match self.take("appManager.array.apps").map(parsed) {
            Some(Value::Array(apps)) => apps,
            _ => Vec::new(),
        };
        match apps.first_mut().and_then(Value::as_object_mut) {
            Some(app) => {
                app.insert(key.to_owned(), value);
            }
            None => apps.insert(0, json!({ key: value })),
        }
        self.set("appManager.array.apps", apps.into());
    }

    /// Takes an option out; what is left at the end has no counterpart.
    pub(super) fn take(&mut self, path: &str) -> Option<Value> {
        let (parents, name) = match path.rsplit_once('.') {
            Some((parents, name)) => (parents, name),
            None => return self.tree.remove(path).filter(|value| !value.is_null()),
        };
        let mut table = &mut self.tree;
        for step in parents.split('.') {
            table = table.get_mut(step)?.as_object_mut()?;
        }
        table.remove(name).filter(|value| !value.is_null())
    }

    /// Every option that is left, by its path.
    pub(super) fn leaves(self) -> Vec<(String, Value)> {
        let mut leaves = Vec::new();
        flatten("", &Value::Object(self.tree), &mut leaves);
        leaves
    }
}

fn flatten(path: &str, value: &Value, leaves: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(table) if !table.is_empty() => {
            for (name, value) in table {
                let below = match path {
                    "" => name.clone(),
                    path => format!("{path}.{name}"),
                };
                flatten(&below, value, leaves);
            }
        }
        leaf => leaves.push((path.to_owned(), leaf.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_the_same_however_they_are_written() {
        let mut options = Options::default();
        options.lay(json!({ "presence": { "maxMembersPerChannel": 5 }, "presence.maxMemberSizeInKb": 3, "port": 1 }));
        assert!(options.lay_variable("PORT", "2".to_owned()));
        assert!(!options.lay_variable("NO_SUCH", "2".to_owned()));
        assert_eq!(
            options.take("presence.maxMembersPerChannel"),
            Some(json!(5))
        );
        assert_eq!(options.take("presence.maxMemberSizeInKb"), Some(json!(3)));
        assert_eq!(options.take("port"), Some(json!("2")));
        assert_eq!(options.take("port"), None);
        assert_eq!(options.take("no.such"), None);
        assert_eq!(options.leaves(), [("presence".to_owned(), json!({}))]);
    }

    #[test]
    fn variables_change_the_first_app_of_the_file() {
        let mut options = Options::default();
        options.lay(json!({ "appManager.array.apps": [{ "id": "1", "key": "a" }, { "id": "2" }] }));
        assert!(options.lay_variable("DEFAULT_APP_KEY", "b".to_owned()));
        let apps = options.take("appManager.array.apps");
        assert_eq!(
            apps,
            Some(json!([{ "id": "1", "key": "b" }, { "id": "2" }]))
        );
        assert!(options.lay_variable("DEFAULT_APP_ID", "3".to_owned()));
        assert_eq!(
            options.take("appManager.array.apps"),
            Some(json!([{ "id": "3" }]))
        );
    }
}
