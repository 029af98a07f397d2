//! Records in etcd through its v2 keys API: one request a write, many in flight.

mod empty_dirs;
mod keys;
mod listing;
mod watch;
mod wire;

use std::rc::Rc;
use std::time::Duration;

use highhock_actors::{
    Changes, Found, Granted, Guard, KeptAlive, Lease, LeaseFamily, LeaseId, RecordKey, RecordStore,
    StoreError, StoreErrorKind, Upkeep, Write, Written,
};
use slog::Logger;

use self::empty_dirs::Left;
use self::keys::{Expected, KeysApi, Subject};
use self::listing::{Listing, Standing};
use self::wire::Answer;
use super::batch;
use super::cluster::{Cluster, UnusableCluster, ask_each_once};
use super::credentials::Login;
use super::http::Http;

/// How many requests of a batch are under way at a time: 32 are nearly six times
/// as fast as one by one (measured), 128 gain little more.
const IN_FLIGHT: usize = 32;

/// Up to this many keys under the root are read one by one, in flight together;
/// more of them by one recursive read, which costs as much as all that is there.
const READ_SINGLY: usize = 8;

/// Where and how to keep records.
#[derive(Clone, Debug)]
pub struct EtcdV2Options {
    /// The cluster. A listing may take five times its time-out.
    pub cluster: Cluster,
    /// The directory of the domain, for instance `skydns/local/skydns`: what is
    /// read when many keys are asked for.
    pub root: RecordKey,
    /// The first part of every key, for instance `skydns`. Empty directories are
    /// removed below it only.
    pub prefix: String,
}

/// A [`RecordStore`] in one etcd, through its v2 keys API.
///
/// It belongs to the thread that it was made in, since awc's connections do.
pub struct EtcdV2 {
    keys: Rc<KeysApi>,
    members: usize,
    root: RecordKey,
    prefix: String,
    log: Logger,
}

impl EtcdV2 {
    /// A client of that cluster. Nothing is sent yet.
    ///
    /// # Errors
    /// Where the cluster can't be spoken to as the options say.
    pub fn new(options: EtcdV2Options, log: Logger) -> Result<Self, UnusableCluster> {
        let EtcdV2Options { cluster, root, prefix } = options;
        let http = Http::new(&cluster, log.clone())?;
        let login = cluster.credentials.as_ref();
        let login = login.map(|credentials| Login::new(credentials, log.clone())).transpose()?;
        let (keys, members) = (Rc::new(KeysApi::new(http, login)), cluster.urls.len());
        Ok(Self { keys, members, root, prefix, log })
    }

    /// Whether what answers has a v2 keys API at all, whatever it says.
    pub(super) async fn answers_v2(&self) -> Result<bool, StoreError> {
        match self.probe().await {
            Ok(()) => Ok(true),
            Err(error) => match error.kind {
                StoreErrorKind::Unavailable | StoreErrorKind::Unknown => Err(error),
                StoreErrorKind::Malformed => Ok(false),
                // It says no, as an etcd with v2 does.
                _ => Ok(true),
            },
        }
    }

    async fn write_one(&self, write: &Write) -> Result<Written, StoreError> {
        let subject = subject_of(write);
        match self.ask(write).await? {
            Answer::Done(_) => Ok(Written::Done),
            Answer::Missing { .. } => Ok(Written::Missing),
            Answer::Differs => Ok(Written::Conflict),
            // Where a directory is, or below a value, our value is not.
            Answer::IsDirectory | Answer::BelowValue { .. } if is_delete(write) => {
                Ok(Written::Missing)
            }
            Answer::BelowValue { at } => Err(self.blocked(subject, &Standing::BelowValue { at })),
            Answer::Exists | Answer::IsDirectory => self.write_over_directory(write).await,
            other @ Answer::NotEmpty => Err(self.keys.out_of_place(subject, &other)),
        }
    }

    /// A value, or a directory, is where a write goes to. An empty directory is
    /// as good as nothing: it is removed.
    async fn write_over_directory(&self, write: &Write) -> Result<Written, StoreError> {
        let subject = subject_of(write);
        match empty_dirs::remove_if_empty(&self.keys, subject.key).await? {
            Left::Value => Ok(Written::Conflict),
            Left::FullDirectory => Err(self.blocked_by_directory(subject).await),
            Left::Nothing if !is_creation(write) => Ok(Written::Missing),
            Left::Nothing => match self.ask(write).await? {
                Answer::Done(_) => Ok(Written::Done),
                // Somebody was quicker; what it is, the core's next read shows.
                Answer::Exists => Ok(Written::Conflict),
                Answer::BelowValue { at } => {
                    Err(self.blocked(subject, &Standing::BelowValue { at }))
                }
                other => Err(self.keys.out_of_place(subject, &other)),
            },
        }
    }

    async fn ask(&self, write: &Write) -> Result<Answer, StoreError> {
        let subject = subject_of(write);
        match write {
            Write::Put { value, ttl, guard: Guard::Absent, .. } => {
                self.keys.create(subject, value, seconds(*ttl)).await
            }
            Write::Put { value, ttl, guard: Guard::Holds(expected), .. } => {
                self.keys.swap(subject, comparable(expected), value, seconds(*ttl)).await
            }
            Write::Refresh { value, ttl, .. } => {
                self.keys.refresh(subject, value, seconds(*ttl)).await
            }
            Write::Delete { expected, .. } => self.keys.delete(subject, comparable(expected)).await,
        }
    }

    async fn read_one(&self, key: &RecordKey) -> Result<Option<Found>, StoreError> {
        let subject = Subject { doing: "reading", key: key.as_str() };
        match self.keys.get(subject).await? {
            Answer::Done(node) => self.found(key, listing::standing(&node)),
            Answer::Missing { .. } => Ok(None),
            Answer::BelowValue { at } => self.found(key, Standing::BelowValue { at }),
            other => Err(self.keys.out_of_place(subject, &other)),
        }
    }

    async fn read_singly(&self, keys: &[RecordKey]) -> Vec<Result<Option<Found>, StoreError>> {
        batch::run(
            keys,
            IN_FLIGHT,
            |key| format!("reading {key}"),
            async |key| self.read_one(key).await,
        )
        .await
    }

    async fn list(&self) -> Result<Listing, StoreError> {
        let subject = Subject { doing: "listing", key: self.root.as_str() };
        match self.keys.list(subject).await? {
            Answer::Done(node) => Ok(Listing::new(node)),
            Answer::Missing { .. } => Ok(Listing::empty()),
            Answer::BelowValue { at } => Ok(Listing::below_value(at)),
            other => Err(self.keys.out_of_place(subject, &other)),
        }
    }

    fn found(&self, key: &RecordKey, standing: Standing) -> Result<Option<Found>, StoreError> {
        match standing {
            Standing::Value(found) => Ok(Some(found)),
            Standing::Nothing => Ok(None),
            other => {
                let subject = Subject { doing: "reading", key: key.as_str() };
                Err(self.blocked(subject, &other))
            }
        }
    }

    /// The error for a directory in a write's way, with one of its keys where
    /// that can be had.
    async fn blocked_by_directory(&self, subject: Subject<'_>) -> StoreError {
        let standing = match self.keys.get(subject).await {
            Ok(Answer::Done(node)) => listing::standing(&node),
            Ok(_) | Err(_) => Standing::Nothing,
        };
        self.blocked(subject, &standing)
    }

    fn blocked(&self, subject: Subject<'_>, standing: &Standing) -> StoreError {
        let there = match standing {
            Standing::BelowValue { at } => {
                format!("there is a record at {}, above it", at.trim_start_matches('/'))
            }
            Standing::Directory { with } => format!("there are records below it, such as {with}"),
            Standing::Nothing | Standing::Value(_) => "there are keys below it".to_owned(),
        };
        let what = format!(
            "{there}, and etcd v2 holds either a name or names below it; rename one of the services"
        );
        self.keys.error(subject, StoreErrorKind::Blocked, &what)
    }
}

impl RecordStore for EtcdV2 {
    fn upkeep(&self) -> Upkeep {
        Upkeep::Each
    }

    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Written, StoreError>> {
        let describe = |write: &Write| {
            let Subject { doing, key } = subject_of(write);
            format!("{doing} {key}")
        };
        let outcomes =
            batch::run(&writes, IN_FLIGHT, describe, async |write| self.write_one(write).await)
                .await;
        let outage = |outcome: &Result<_, StoreError>| {
            outcome.as_ref().is_err_and(|error| error.kind.is_outage())
        };
        if !outcomes.iter().any(outage) {
            let gone = writes.iter().zip(&outcomes).filter_map(|(write, outcome)| {
                let gone = matches!(outcome, Ok(Written::Done | Written::Missing));
                (is_delete(write) && gone).then_some(write.key().as_str())
            });
            empty_dirs::prune(&self.keys, &self.prefix, gone, &self.log).await;
        }
        outcomes
    }

    async fn read(&self, keys: Vec<RecordKey>) -> Vec<Result<Option<Found>, StoreError>> {
        let shown = keys.iter().filter(|key| listing::shows(&self.root, key)).count();
        if shown <= READ_SINGLY {
            return self.read_singly(&keys).await;
        }
        let listing = match self.list().await {
            Ok(listing) => listing,
            // An answer that can't be read may be a listing deeper or longer than
            // this program takes, and no reason to hold back what can be read.
            Err(error) if error.kind == StoreErrorKind::Malformed => {
                return self.read_singly(&keys).await;
            }
            Err(error) => return vec![Err(error); keys.len()],
        };
        let mut outcomes =
            keys.iter().map(|key| self.found(key, listing.at(key))).collect::<Vec<_>>();
        let (hidden, places): (Vec<_>, Vec<_>) = keys
            .iter()
            .zip(&mut outcomes)
            .filter(|(key, _)| !listing::shows(&self.root, key))
            .map(|(key, outcome)| (key.clone(), outcome))
            .unzip();
        for (place, outcome) in places.into_iter().zip(self.read_singly(&hidden).await) {
            *place = outcome;
        }
        outcomes
    }

    async fn probe(&self) -> Result<(), StoreError> {
        // A read with a quorum goes the way of a write, through the leader's log.
        let subject = Subject { doing: "looking for", key: &self.prefix };
        // One member that is away is no outage where another answers.
        ask_each_once(self.members, async || self.keys.get(subject).await.map(|_| ())).await
    }

    async fn watch(&self) -> Result<Changes, StoreError> {
        watch::watch(Rc::clone(&self.keys), self.root.clone()).await
    }

    async fn leases(&self, _: LeaseFamily) -> Result<Vec<Lease>, StoreError> {
        Err(no_leases())
    }

    async fn grant(&self, _: LeaseId, _: Duration) -> Result<Granted, StoreError> {
        Err(no_leases())
    }

    async fn keep_alive(&self, _: LeaseId) -> Result<KeptAlive, StoreError> {
        Err(no_leases())
    }

    async fn revoke(&self, _: LeaseId) -> Result<(), StoreError> {
        Err(no_leases())
    }

    async fn leased(&self, _: LeaseId) -> Result<Vec<(RecordKey, Found)>, StoreError> {
        Err(no_leases())
    }
}

/// Nobody asks for a lease where [`EtcdV2::upkeep`] says that there are none.
fn no_leases() -> StoreError {
    let what = "etcd's v2 API has no leases: every key has a TTL of its own";
    StoreError::new(StoreErrorKind::Refused, what)
}

/// What etcd v2 can compare of what is expected.
fn comparable(expected: &highhock_actors::Expected) -> Expected<'_> {
    Expected { value: &expected.value, version: expected.version }
}

fn subject_of(write: &Write) -> Subject<'_> {
    let doing = match write {
        Write::Put { .. } => "putting",
        Write::Refresh { .. } => "refreshing",
        Write::Delete { .. } => "deleting",
    };
    Subject { doing, key: write.key().as_str() }
}

fn is_delete(write: &Write) -> bool {
    matches!(write, Write::Delete { .. })
}

fn is_creation(write: &Write) -> bool {
    matches!(write, Write::Put { guard: Guard::Absent, .. })
}

/// A TTL as etcd takes it. A TTL of 0 would be none.
fn seconds(ttl: Duration) -> u64 {
    ttl.as_secs().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_at_least_a_second() {
        assert_eq!(seconds(Duration::ZERO), 1);
        assert_eq!(seconds(Duration::from_millis(1900)), 1);
        assert_eq!(seconds(Duration::from_secs(86_400)), 86_400);
    }
}
