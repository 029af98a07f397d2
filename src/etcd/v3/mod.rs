//! Records in etcd through its v3 API, by the JSON gateway: guarded transactions,
//! one lease that all records hang on, a watch.

pub(crate) mod auth;
mod batching;
mod error;
mod gateway;
mod lease;
mod txn;
mod watch;
mod wire;

use std::rc::Rc;
use std::time::Duration;

use highhock_actors::{
    Changes, Found, Granted, KeptAlive, Lease, LeaseFamily, LeaseId, RecordKey, RecordStore,
    StoreError, StoreErrorKind, Tie, Upkeep, Write, Written,
};
use slog::Logger;

use self::batching::{Item, Limits, Weight};
use self::gateway::{Call, CallError, Gateway};
use self::txn::{Step, Verdict, all_or_none, apart, below, each_by_itself, groups, path_of};
use self::wire::{Int, Op, OpDone, Range, RangeFound, Txn, TxnAnswer};
use super::batch;
use super::cluster::{Cluster, UnusableCluster, ask_each_once};
use super::credentials::Login;
use super::http::Http;
use auth::Authorized;

/// Where writes and reads go.
const TXN: &str = "/v3/kv/txn";
const RANGE: &str = "/v3/kv/range";

/// Where and how to keep records.
#[derive(Clone, Debug)]
pub struct EtcdV3Options {
    /// The cluster. A keep-alive may take four times its time-out.
    pub cluster: Cluster,
    /// The directory of the domain, for instance `skydns/local/skydns`: what is
    /// watched, and what records stand in.
    pub root: RecordKey,
}

/// A [`RecordStore`] in one etcd cluster, through its v3 API.
///
/// It belongs to the thread that it was made in, since awc's connections do.
pub struct EtcdV3 {
    gateway: Rc<Gateway>,
    members: usize,
    limits: Limits,
    root: RecordKey,
}

impl EtcdV3 {
    /// A client of that cluster. Nothing is sent yet.
    ///
    /// # Errors
    /// Where the cluster can't be spoken to as the options say.
    pub fn new(options: EtcdV3Options, log: Logger) -> Result<Self, UnusableCluster> {
        let EtcdV3Options { cluster, root } = options;
        let http = Http::new(&cluster, log.clone())?;
        let login = cluster.credentials.as_ref();
        let login = login.map(|credentials| Login::new(credentials, log.clone())).transpose()?;
        let gateway = Rc::new(Gateway::new(Authorized::new(http, login, log)));
        Ok(Self { gateway, members: cluster.urls.len(), limits: Limits::new(), root })
    }

    /// A key below the root, where there is any.
    pub(super) async fn holds_anything(&self) -> Result<Option<RecordKey>, StoreError> {
        let (key, end) = below(&path_of(&self.root));
        let doing = format!("looking for keys below {}", self.root);
        let first = Range {
            key: key.as_str().into(),
            range_end: Some(end.as_str().into()),
            limit: Int(1),
            keys_only: true,
        };
        let found = self.gateway.call::<RangeFound>(Call::read(&doing, RANGE), &first).await?;
        Ok(found.range.kvs.first().map(|kv| RecordKey::from_path(&kv.key.to_text())))
    }

    /// Carries out writes of which none is in another's way.
    ///
    /// First all or none, in one plain transaction, which costs etcd half of what
    /// inner transactions do. Only where some guard does not hold, each by itself.
    async fn write_together(&self, steps: &[Step]) -> Vec<Result<Written, StoreError>> {
        let send = async |steps: &[&Step], doing: &str| {
            let call = Call::write(doing, TXN);
            if steps.len() > 1 {
                let answer = self.gateway.call::<TxnAnswer>(call, &all_or_none(steps)).await?;
                if answer.done.succeeded {
                    return Ok(steps.iter().map(|_| Ok(Written::Done)).collect());
                }
            }
            let answer = self.gateway.call::<TxnAnswer>(call, &each_by_itself(steps)).await?;
            let Some(answers) = apart(answer.done, steps.len()) else {
                return Err(self.out_of_place(doing, "another number of answers than of writes"));
            };
            let outcomes = steps.iter().zip(answers);
            Ok(outcomes.map(|(step, done)| self.outcome(step, step.verdict(&done))).collect())
        };
        self.limits.send_all(steps, send).await
    }

    fn outcome(&self, step: &Step, verdict: Verdict) -> Result<Written, StoreError> {
        let there = match verdict {
            Verdict::Written(written) => return Ok(written),
            Verdict::Nonsense(what) => {
                return Err(self.gateway.out_of_place(&step.describe(), what));
            }
            Verdict::BelowRecord { at } => {
                format!("there is a record at {}, above it", at.trim_start_matches('/'))
            }
            Verdict::AboveRecords { with } => {
                format!("there are records below it, such as {}", with.trim_start_matches('/'))
            }
        };
        let message = format!(
            "{} in etcd at {}: {there}, and DNS servers show either a name or names below it; \
             rename one of the services",
            step.describe(),
            self.gateway.http().urls()
        );
        Err(StoreError::new(StoreErrorKind::Blocked, message))
    }

    fn out_of_place(&self, doing: &str, what: &str) -> CallError {
        let error = self.gateway.out_of_place(doing, what);
        CallError { reason: error::Reason::Other, error }
    }
}

/// A key to read.
struct Wanted(RecordKey);

impl Item for Wanted {
    fn weight(&self) -> Weight {
        Weight { operations: 1, inner: 0, bytes: self.0.as_str().len() + 16 }
    }

    fn describe(&self) -> String {
        format!("reading {}", self.0)
    }
}

impl RecordStore for EtcdV3 {
    fn upkeep(&self) -> Upkeep {
        Upkeep::Lease
    }

    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Written, StoreError>> {
        let mut outcomes = writes.iter().map(|write| Err(not_for_v3(write))).collect::<Vec<_>>();
        let steps = writes.iter().enumerate();
        let steps = steps.filter_map(|(place, write)| Step::new(place, write, &self.root));
        let mut outage = None::<StoreError>;
        for group in groups(steps.collect()) {
            let answers = match &outage {
                None => self.write_together(&group).await,
                Some(first) => {
                    let held_back = |step: &Step| Err(batch::not_sent(&step.describe(), first));
                    group.iter().map(held_back).collect()
                }
            };
            for (step, answer) in group.iter().zip(answers) {
                if let Err(error) = &answer
                    && error.kind.is_outage()
                {
                    outage.get_or_insert_with(|| error.clone());
                }
                outcomes[step.place] = answer;
            }
        }
        outcomes
    }

    async fn read(&self, keys: Vec<RecordKey>) -> Vec<Result<Option<Found>, StoreError>> {
        let wanted = keys.into_iter().map(Wanted).collect::<Vec<_>>();
        let send = async |wanted: &[&Wanted], doing: &str| {
            let range = |wanted: &&Wanted| {
                let key = path_of(&wanted.0).as_str().into();
                Op::Range(Range { key, ..Range::default() })
            };
            let txn = Txn { success: wanted.iter().map(range).collect(), ..Txn::default() };
            let answer = self.gateway.call::<TxnAnswer>(Call::read(doing, TXN), &txn).await?;
            let found = answer.done.responses.iter().map(|response| match response {
                OpDone::Range(range) => Some(range.kvs.first().map(watch::found)),
                _ => None,
            });
            match found.collect::<Option<Vec<_>>>() {
                Some(found) if found.len() == wanted.len() => {
                    Ok(found.into_iter().map(Ok).collect())
                }
                _ => Err(self.out_of_place(doing, "another number of answers than of keys")),
            }
        };
        self.limits.send_all(&wanted, send).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        // A key that isn't there, in the range that this client surely may read: by
        // a read that needs a quorum.
        let (key, _) = below(&path_of(&self.root));
        let doing = format!("looking for {}", self.root);
        let range = Range { key: key.as_str().into(), ..Range::default() };
        // One member that is away is no outage where another answers.
        let probe = async || {
            self.gateway.call::<RangeFound>(Call::read(&doing, RANGE), &range).await?;
            Ok(())
        };
        ask_each_once(self.members, probe).await
    }

    async fn watch(&self) -> Result<Changes, StoreError> {
        watch::watch(Rc::clone(&self.gateway), &self.root).await
    }

    async fn leases(&self, family: LeaseFamily) -> Result<Vec<Lease>, StoreError> {
        self.probe().await?;
        lease::leases(&self.gateway, family).await
    }

    async fn grant(&self, id: LeaseId, ttl: Duration) -> Result<Granted, StoreError> {
        lease::grant(&self.gateway, id, ttl).await
    }

    async fn keep_alive(&self, id: LeaseId) -> Result<KeptAlive, StoreError> {
        lease::keep_alive(&self.gateway, id).await
    }

    async fn revoke(&self, id: LeaseId) -> Result<(), StoreError> {
        lease::revoke(&self.gateway, id).await
    }

    async fn leased(&self, id: LeaseId) -> Result<Vec<(RecordKey, Found)>, StoreError> {
        self.probe().await?;
        let Some(state) = lease::time_to_live(&self.gateway, id, true).await? else {
            return Ok(Vec::new());
        };
        let inside = format!("{}/", self.root);
        let keys = state.keys.into_iter().filter(|key| key.as_str().starts_with(&inside));
        let keys = keys.collect::<Vec<_>>();
        let mut leased = Vec::new();
        for (key, found) in keys.iter().zip(self.read(keys.clone()).await) {
            // It may have gone meanwhile, or hang on another by now.
            if let Some(found) = found?
                && found.tie == Tie::Lease(id)
            {
                leased.push((key.clone(), found));
            }
        }
        Ok(leased)
    }
}

/// The answer to a write that isn't any in v3, where nobody asks for it.
fn not_for_v3(write: &Write) -> StoreError {
    let what = format!("{}: in etcd v3 a lease keeps records alive", write.key());
    StoreError::new(StoreErrorKind::Refused, what)
}
