//! Why somebody may not hear a channel, in the words that they get.

/// Why a valid token does not open a channel; the text is for the 403 answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Public channels are subscribed to without a signature.
    #[error("Channel {channel} is public; it needs no authorization")]
    Public {
        /// The channel asked for.
        channel: String,
    },
    /// The channels of signed-in users open by signing in only.
    #[error("Channel {channel} opens by signing in (pusher:signin), not by authorization")]
    ServerToUser {
        /// The channel asked for.
        channel: String,
    },
    /// No rule is about this channel.
    #[error("No rule in auth.channels is about channel {channel}")]
    NoRule {
        /// The channel asked for.
        channel: String,
    },
    /// The rule wants another user.
    #[error("Channel {channel} is for user {owner}; the token is user {user}'s")]
    OtherUser {
        /// The channel asked for.
        channel: String,
        /// Who may have it.
        owner: String,
        /// Who asked.
        user: String,
    },
    /// The rule wants a role the user lacks.
    #[error("Channel {channel} needs {}", one_of(roles))]
    Role {
        /// The channel asked for.
        channel: String,
        /// The roles of which one is needed.
        roles: Vec<String>,
    },
    /// The rule wants a claim the token lacks.
    #[error("Channel {channel} needs a token whose claim '{claim}' is or lists '{value}'")]
    Claim {
        /// The channel asked for.
        channel: String,
        /// The claim's name.
        claim: String,
        /// The value needed.
        value: String,
    },
    /// The database has no row for this user.
    #[error("Channel {channel} is not user {user}'s by the rule's sql")]
    NoRow {
        /// The channel asked for.
        channel: String,
        /// Who asked.
        user: String,
    },
    /// The database cannot be asked now.
    #[error("Channel {channel} cannot be decided about now; try again later")]
    Undecided {
        /// The channel asked for.
        channel: String,
    },
    /// The app has no key from which the channel's could be derived.
    #[error("Channel {channel} is encrypted, and the app has no apps.encryption_master_key")]
    NoMasterKey {
        /// The channel asked for.
        channel: String,
    },
}

impl Refusal {
    /// Whether the fault is the server's, so that it is worth to try again: a 503, not a 403.
    pub fn is_ours(&self) -> bool {
        matches!(self, Refusal::Undecided { .. })
    }
}

/// Why a connection may not hear a public channel; the text is for its subscription error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuardRefusal {
    /// The connection has not signed in.
    #[error("Channel {channel} is guarded: sign in first (pusher:signin)")]
    NotSignedIn {
        /// The channel asked for.
        channel: String,
    },
    /// The user lacks the roles.
    #[error("Channel {channel} needs {}", one_of(roles))]
    Role {
        /// The channel asked for.
        channel: String,
        /// The roles of which one is needed.
        roles: Vec<String>,
    },
}

fn one_of(roles: &[String]) -> String {
    match roles {
        [role] => format!("the role {role}"),
        roles => format!("one of the roles {}", roles.join(", ")),
    }
}
