//! The check of a reload: which changes it rejects, and which take effect at a restart.

use std::fmt;

use super::{
    checked::Config,
    fingerprint::Fingerprint,
    setting::{Key, Reload},
    settings,
};

impl Config {
    /// The settings that a reload does not apply, as they are now.
    #[must_use]
    pub fn reload_snapshot(&self) -> ReloadSnapshot {
        let keys = settings::all().filter_map(|setting| setting.key);
        ReloadSnapshot(keys.filter_map(|key| Entry::new(key, self)).collect())
    }
}

/// The settings of a running server that a reload does not apply.
///
/// It holds fingerprints only. `Debug` shows the keys.
#[derive(Clone, Debug)]
pub struct ReloadSnapshot(Vec<Entry>);

impl ReloadSnapshot {
    /// The keys that are different in `new`, and for which the reload is rejected.
    #[must_use]
    pub fn refused_changes(&self, new: &Self) -> Vec<&'static str> {
        self.changes(new, Effect::Refused)
    }

    /// The keys that are different in `new`, and whose new value takes effect at a restart.
    #[must_use]
    pub fn restart_changes(&self, new: &Self) -> Vec<&'static str> {
        self.changes(new, Effect::Restart)
    }

    /// Both snapshots have the same keys in the same order.
    fn changes(&self, new: &Self, effect: Effect) -> Vec<&'static str> {
        let pairs = self.0.iter().zip(&new.0).filter(|(old, _)| old.effect == effect);
        pairs.filter(|(old, new)| old.differs(new)).map(|(old, _)| old.path).collect()
    }
}

/// One key of a snapshot.
#[derive(Clone)]
struct Entry {
    path: &'static str,
    effect: Effect,
    /// `None` if the value does not matter: it then equals every other.
    fingerprint: Option<Fingerprint>,
}

impl Entry {
    /// Returns `None` for a key that a reload applies in every case, or that another row detects.
    fn new(Key { path, reload }: Key, config: &Config) -> Option<Self> {
        let (effect, fingerprint) = match reload {
            Reload::Applied | Reload::PartOfUpstream => return None,
            Reload::AppliedWithoutStore(value) => (Effect::Refused, value(config)),
            Reload::Refused(value) => (Effect::Refused, Some(value(config))),
            Reload::Restart(value) => (Effect::Restart, Some(value(config))),
        };
        Some(Self { path, effect, fingerprint })
    }

    fn differs(&self, other: &Self) -> bool {
        match (&self.fingerprint, &other.fingerprint) {
            (Some(old), Some(new)) => !old.matches(new),
            _ => false,
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path)
    }
}

/// The effect of a change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    Refused,
    Restart,
}
