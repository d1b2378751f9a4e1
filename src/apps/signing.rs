//! The app of `auth.app`: the one for which the server itself signs, and whose channels clients of other protocols hear.

use std::sync::Arc;

use super::{App, Apps};

/// An app that the configuration names; looked up whenever it is used, since it may change.
#[derive(Clone, Debug)]
pub struct SigningApp {
    apps: Arc<Apps>,
    id: Arc<str>,
}

impl SigningApp {
    /// The one with this id.
    pub fn new(apps: Arc<Apps>, id: &str) -> SigningApp {
        let id = id.into();
        SigningApp { apps, id }
    }

    /// As it is now; `None` while it is disabled.
    pub fn get(&self) -> Option<Arc<App>> {
        self.apps.by_id(&self.id).filter(|app| app.enabled)
    }
}
