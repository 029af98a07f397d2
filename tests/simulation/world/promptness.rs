//! [`PromptnessChecker`]: while events are delivered, a change takes effect at once.
//!
//! Without this rule, a core that ignores events would pass, because the next poll finds every
//! change.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::container::ExpectedRecord;

/// The longest time from a change of a container to its effect in the store, while Docker and
/// etcd are healthy. It is far below the shortest poll interval of a plan.
const EFFECT_DELAY_MAX: Duration = Duration::from_secs(1);

/// The content that a key may have, if every event was delivered.
struct PromptRule {
    /// The allowed values. `None`: the key is absent.
    allowed: Vec<Option<String>>,
    /// The time of the last change that affects the key.
    since: Instant,
    /// The time of the last change before `since` that the core may have missed.
    missed_at: Option<Instant>,
}

impl PromptRule {
    fn new(allowed: Vec<Option<String>>, since: Instant) -> Self {
        Self { allowed, since, missed_at: None }
    }

    /// Sets the time of the last change. The core may have missed changes until `undelivered_at`.
    fn set_changed(&mut self, at: Instant, undelivered_at: Instant) {
        if at > self.since && self.since <= undelivered_at {
            self.missed_at = Some(self.since);
        }
        self.since = self.since.max(at);
    }
}

/// Derives the content of each key for a core that receives every event at once.
pub struct PromptnessChecker {
    rules: BTreeMap<String, PromptRule>,
    /// The last time at which the core may have missed an event. Changes until then are found by
    /// polls.
    undelivered_at: Instant,
    /// The longest time until a poll finds a missed change.
    poll_time_max: Duration,
}

impl PromptnessChecker {
    pub fn new(poll_time_max: Duration) -> Self {
        Self { rules: BTreeMap::new(), undelivered_at: Instant::now(), poll_time_max }
    }

    /// Reports that an event of this moment may be lost, late or unheeded.
    pub fn mark_undelivered(&mut self) {
        self.undelivered_at = Instant::now();
    }

    /// Replaces the expected records, which are in the order of their ranks.
    pub fn update(&mut self, expected: &[ExpectedRecord]) {
        let mut contents = allowed_contents(expected);
        for key in self.rules.keys() {
            contents.entry(key.clone()).or_insert_with(|| AllowedContent::new(None));
        }
        for (key, content) in contents {
            let AllowedContent { allowed, last_changed, .. } = content;
            let now = Instant::now();
            let rule = self.rules.entry(key).or_insert_with(|| PromptRule::new(vec![None], now));
            if rule.allowed != allowed {
                rule.allowed = allowed;
                rule.set_changed(now, self.undelivered_at);
            }
            rule.set_changed(last_changed.unwrap_or(rule.since), self.undelivered_at);
        }
    }

    /// Returns the allowed values of a key if the last change of the key must have taken effect.
    ///
    /// The content of a key depends on earlier changes, too. A change is therefore exempt if it
    /// follows a missed change before a poll has found that one.
    pub fn due_content(&self, key: &str) -> Option<&[Option<String>]> {
        let rule = self.rules.get(key)?;
        let is_known = rule.missed_at.is_none_or(|at| rule.since > at + self.poll_time_max);
        let is_due =
            is_known && rule.since > self.undelivered_at && rule.since.elapsed() > EFFECT_DELAY_MAX;
        is_due.then_some(&rule.allowed)
    }

    /// Returns all keys that were desired at any time.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.rules.keys()
    }
}

/// The values that a key may have, in the order of their ranks.
struct AllowedContent {
    allowed: Vec<Option<String>>,
    last_changed: Option<Instant>,
    /// `true` if a container certainly holds the key.
    is_held: bool,
}

impl AllowedContent {
    fn new(last_changed: Option<Instant>) -> Self {
        Self { allowed: vec![None], last_changed, is_held: false }
    }

    fn add(&mut self, record: &ExpectedRecord) {
        self.last_changed = self.last_changed.max(Some(record.last_changed));
        if self.is_held || record.is_draining {
            return;
        }
        self.is_held = record.is_certain && !record.is_limited;
        if self.is_held {
            self.allowed.retain(Option::is_some);
        }
        self.allowed.push(Some(record.value.clone()));
    }
}

/// Returns the allowed content of every desired key. A container that drains wants no key.
fn allowed_contents(expected: &[ExpectedRecord]) -> BTreeMap<String, AllowedContent> {
    let mut contents: BTreeMap<String, AllowedContent> = BTreeMap::new();
    for record in expected {
        let content =
            contents.entry(record.key.clone()).or_insert_with(|| AllowedContent::new(None));
        content.add(record);
    }
    contents
}
