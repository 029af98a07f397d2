//! [`AdminBridge`]: carries queries from the thread of the HTTP server to the thread of the actors,
//! and the replies back, each with a deadline.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use actix_rt::task::JoinHandle;
use futures_util::future::LocalBoxFuture;
use tokio::sync::{mpsc, oneshot, watch};

use super::daemon_api::{CoreApi, DaemonApi};
use crate::admin::active_config::ActiveConfig;
use crate::logging::RecentLogs;
use crate::metrics::MetricsSnapshot;

/// The time limit of a query.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);
/// The largest number of queries that wait for the thread of the actors.
const QUERIES_MAX: usize = 64;

/// A query that runs on the thread of the actors.
type DaemonQuery = Box<dyn FnOnce(&dyn DaemonApi) -> LocalBoxFuture<'static, ()> + Send>;

/// A failed query. The text is shown to the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The time limit is over.
    #[error("{target} did not answer within {seconds} s", seconds = QUERY_TIMEOUT.as_secs())]
    Timeout {
        /// The actor or thread that received the query.
        target: &'static str,
    },
    /// The actor is being restarted after a crash, or its mailbox is full.
    #[error("{target} does not answer: it is being restarted, or too busy; see the log")]
    Unavailable {
        /// The actor or thread that received the query.
        target: &'static str,
    },
    /// No core runs, for this reason.
    #[error("{0}")]
    NotRunning(String),
}

impl QueryError {
    /// Returns the name of the error for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Timeout { .. } | Self::Unavailable { .. } => "no_answer",
            Self::NotRunning(_) => "not_running",
        }
    }
}

/// The end of the bridge on the thread of the actors. Queries fail after it is dropped.
pub struct AdminBridge {
    handle: BridgeHandle,
    worker: JoinHandle<()>,
}

impl AdminBridge {
    /// Starts to reply to queries about `daemon`, on the current arbiter.
    pub fn open(
        daemon: Rc<dyn DaemonApi>,
        active_config: watch::Receiver<ActiveConfig>,
        recent_logs: RecentLogs,
    ) -> Self {
        let (queries, mut incoming) = mpsc::channel::<DaemonQuery>(QUERIES_MAX);
        let worker = actix_rt::spawn(async move {
            while let Some(query) = incoming.recv().await {
                // One task per query, so that an actor that hangs delays no other reply.
                actix_rt::spawn(query(&*daemon));
            }
        });
        let handle =
            BridgeHandle { queries, active_config, recent_logs, started: SystemTime::now() };
        Self { handle, worker }
    }

    /// Returns the end for the HTTP server.
    pub fn handle(&self) -> BridgeHandle {
        self.handle.clone()
    }
}

impl Drop for AdminBridge {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

/// The end of the bridge for the HTTP server. It can be used from every thread.
#[derive(Clone)]
pub struct BridgeHandle {
    queries: mpsc::Sender<DaemonQuery>,
    /// The active configuration, and its changes.
    pub active_config: watch::Receiver<ActiveConfig>,
    /// The last warnings and errors of the log.
    pub recent_logs: RecentLogs,
    /// The start time of the daemon.
    pub started: SystemTime,
}

impl BridgeHandle {
    /// Queries the running core. `target` names the queried actor in errors.
    ///
    /// # Errors
    /// Returns an error if the reply is late or missing, or if no core runs.
    pub async fn query<T: Send + 'static>(
        &self,
        target: &'static str,
        query: impl FnOnce(&dyn CoreApi) -> LocalBoxFuture<'static, Option<T>> + Send + 'static,
    ) -> Result<T, QueryError> {
        let result = self.query_daemon(target, move |daemon| {
            let result = daemon.core().map(|core| query(&*core));
            Box::pin(async move {
                match result {
                    Ok(result) => result.await.ok_or(QueryError::Unavailable { target }),
                    Err(reason) => Err(QueryError::NotRunning(reason)),
                }
            })
        });
        result.await?
    }

    /// Reads all metrics. No core is needed.
    ///
    /// # Errors
    /// Returns an error if the reply is late.
    pub async fn metrics_snapshot(&self) -> Result<MetricsSnapshot, QueryError> {
        self.query_daemon("the actors' thread", |daemon| daemon.metrics_snapshot()).await
    }

    async fn query_daemon<T: Send + 'static>(
        &self,
        target: &'static str,
        query: impl FnOnce(&dyn DaemonApi) -> LocalBoxFuture<'static, T> + Send + 'static,
    ) -> Result<T, QueryError> {
        let (mut reply, receiver) = oneshot::channel();
        let query: DaemonQuery = Box::new(move |daemon| {
            let result = query(daemon);
            Box::pin(async move {
                tokio::select! {
                    result = result => drop(reply.send(result)),
                    // The query timed out.
                    () = reply.closed() => {}
                }
            })
        });
        if self.queries.try_send(query).is_err() {
            return Err(QueryError::Timeout { target: "the actors' thread" });
        }
        match tokio::time::timeout(QUERY_TIMEOUT, receiver).await {
            Ok(Ok(result)) => Ok(result),
            // The bridge was dropped.
            Ok(Err(_)) => Err(QueryError::NotRunning("it is stopping".to_owned())),
            Err(_) => Err(QueryError::Timeout { target }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use highhock_actors::RecordReport;
    use highhock_actors::status::{ContainerReport, CoreStatus, RecentChange};

    use super::*;
    use crate::settings::Admin;

    /// A daemon whose registry hangs and whose inserter is being restarted.
    #[derive(Default)]
    struct StuckDaemon {
        not_running_reason: RefCell<Option<String>>,
        waiting: Rc<Cell<usize>>,
    }

    struct WaitGuard(Rc<Cell<usize>>);

    impl WaitGuard {
        fn new(waiting: &Rc<Cell<usize>>) -> Self {
            waiting.set(waiting.get() + 1);
            Self(Rc::clone(waiting))
        }
    }

    impl Drop for WaitGuard {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }

    struct StuckCore(Rc<Cell<usize>>);

    impl DaemonApi for StuckDaemon {
        fn core(&self) -> Result<Rc<dyn CoreApi>, String> {
            match self.not_running_reason.borrow().clone() {
                Some(reason) => Err(reason),
                None => Ok(Rc::new(StuckCore(Rc::clone(&self.waiting)))),
            }
        }

        fn metrics_snapshot(&self) -> LocalBoxFuture<'static, MetricsSnapshot> {
            Box::pin(std::future::pending())
        }
    }

    impl CoreApi for StuckCore {
        fn ping_actors(&self) -> LocalBoxFuture<'static, Option<()>> {
            Box::pin(std::future::ready(Some(())))
        }

        fn containers(&self) -> LocalBoxFuture<'static, Option<Vec<ContainerReport>>> {
            let guard = WaitGuard::new(&self.0);
            Box::pin(async move {
                let _guard = guard;
                std::future::pending().await
            })
        }

        fn records(&self) -> LocalBoxFuture<'static, Option<Vec<RecordReport>>> {
            Box::pin(std::future::ready(None))
        }

        fn status(&self) -> LocalBoxFuture<'static, Option<CoreStatus>> {
            Box::pin(std::future::pending())
        }

        fn changes(&self) -> Vec<RecentChange> {
            Vec::new()
        }
    }

    fn open(daemon: &Rc<StuckDaemon>) -> AdminBridge {
        let admin = Admin { listen: None, token: None, allow_remote: false };
        let (_, active_config) = watch::channel(ActiveConfig::new(admin, Vec::new()));
        AdminBridge::open(
            Rc::clone(daemon) as Rc<dyn DaemonApi>,
            active_config,
            RecentLogs::default(),
        )
    }

    #[actix_rt::test]
    async fn hanging_actor_times_out_and_blocks_no_query() {
        tokio::time::pause();
        let daemon = Rc::new(StuckDaemon::default());
        let bridge = open(&daemon);
        let handle = bridge.handle();
        let stuck_query = handle.query("Registry", |core| core.containers());
        let answers = handle.query("one of the actors", |core| core.ping_actors());
        let (hung, answered) = futures_util::future::join(stuck_query, answers).await;
        let hung = hung.unwrap_err();
        assert_eq!(hung, QueryError::Timeout { target: "Registry" });
        assert_eq!(hung.to_string(), "Registry did not answer within 2 s");
        assert_eq!(answered, Ok(()));
        // The timed-out query was dropped on the thread of the actors, too.
        tokio::task::yield_now().await;
        assert_eq!(daemon.waiting.get(), 0);
        let unavailable = handle.query("EtcdInserter", |core| core.records()).await.unwrap_err();
        assert_eq!(unavailable, QueryError::Unavailable { target: "EtcdInserter" });
    }

    #[actix_rt::test]
    async fn reports_why_no_core_runs() {
        let daemon = Rc::new(StuckDaemon::default());
        let bridge = open(&daemon);
        daemon.not_running_reason.replace(Some("waiting for docker (no)".to_owned()));
        let result = bridge.handle().query("Registry", |core| core.containers()).await.unwrap_err();
        assert_eq!(result, QueryError::NotRunning("waiting for docker (no)".to_owned()));
        // A core that has started since then replaces the old reason.
        daemon.not_running_reason.replace(None);
        assert_eq!(bridge.handle().query("all", |core| core.ping_actors()).await, Ok(()));
    }

    #[actix_rt::test]
    async fn fails_after_the_bridge_is_dropped() {
        let handle = open(&Rc::new(StuckDaemon::default())).handle();
        tokio::task::yield_now().await;
        assert!(handle.query("all", |core| core.ping_actors()).await.is_err());
    }
}
