//! Between the HTTP server's thread and the actors': questions go one way, answers the
//! other, each with a deadline.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use actix_rt::task::JoinHandle;
use tokio::sync::{mpsc, oneshot, watch};

use super::daemon_api::{Daemon, Observe, Told};
use crate::admin::active_config::InForce;
use crate::logging::LastLines;
use crate::metrics::Reading;

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// How many questions may wait for the actors' thread to take them.
const WAITING: usize = 64;

/// A question on its way to the actors' thread.
type Question = Box<dyn FnOnce(&dyn Daemon) -> Told<()> + Send>;

/// Why there is no answer, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// The deadline is over.
    #[error("{whom} did not answer within {seconds} s", seconds = DEADLINE.as_secs())]
    Late {
        /// Who was asked.
        whom: &'static str,
    },
    /// An actor fell and another will take its place, or it has too much else to do.
    #[error("{whom} does not answer: it is being restarted, or too busy; the log says more")]
    Mute {
        /// Who was asked.
        whom: &'static str,
    },
    /// No core runs at the moment: why.
    #[error("{0}")]
    NoCore(String),
}

impl NoAnswer {
    /// The reason's name for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Late { .. } | Self::Mute { .. } => "no_answer",
            Self::NoCore(_) => "not_running",
        }
    }
}

/// The actors' side: answers on their thread, until it is dropped.
pub struct Desk {
    window: Window,
    answering: JoinHandle<()>,
}

impl Desk {
    /// Answers questions about this daemon from now on, on the current arbiter.
    pub fn open(
        daemon: Rc<dyn Daemon>,
        in_force: watch::Receiver<InForce>,
        lines: LastLines,
    ) -> Self {
        let (questions, mut asked) = mpsc::channel::<Question>(WAITING);
        let answering = actix_rt::spawn(async move {
            while let Some(question) = asked.recv().await {
                // Each by itself: an actor that hangs holds up nobody else's answer.
                actix_rt::spawn(question(&*daemon));
            }
        });
        let window = Window { questions, in_force, lines, started: SystemTime::now() };
        Self { window, answering }
    }

    /// The other side, for whoever asks.
    pub fn window(&self) -> Window {
        self.window.clone()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

/// The other side: asks, from whatever thread.
#[derive(Clone)]
pub struct Window {
    questions: mpsc::Sender<Question>,
    /// What holds of the settings, and a way to hear of changes.
    pub in_force: watch::Receiver<InForce>,
    /// The log's last warnings and errors.
    pub lines: LastLines,
    /// When the daemon started.
    pub started: SystemTime,
}

impl Window {
    /// Asks the core that runs now. `whom` is the actor that is to answer, for the error.
    ///
    /// # Errors
    /// Where there is no answer in time, or no core.
    pub async fn ask<T: Send + 'static>(
        &self,
        whom: &'static str,
        question: impl FnOnce(&dyn Observe) -> Told<Option<T>> + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let asked = self.ask_daemon(whom, move |daemon| {
            let told = daemon.core().map(|core| question(&*core));
            Box::pin(async move {
                match told {
                    Ok(told) => told.await.ok_or(NoAnswer::Mute { whom }),
                    Err(why) => Err(NoAnswer::NoCore(why)),
                }
            })
        });
        asked.await?
    }

    /// Asks for all that is measured, whether or not a core runs.
    ///
    /// # Errors
    /// Where there is no answer in time.
    pub async fn reading(&self) -> Result<Reading, NoAnswer> {
        self.ask_daemon("the actors' thread", |daemon| daemon.reading()).await
    }

    async fn ask_daemon<T: Send + 'static>(
        &self,
        whom: &'static str,
        question: impl FnOnce(&dyn Daemon) -> Told<T> + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let (mut reply, answer) = oneshot::channel();
        let question: Question = Box::new(move |daemon| {
            let told = question(daemon);
            Box::pin(async move {
                tokio::select! {
                    told = told => drop(reply.send(told)),
                    // Nobody waits any longer.
                    () = reply.closed() => {}
                }
            })
        });
        if self.questions.try_send(question).is_err() {
            return Err(NoAnswer::Late { whom: "the actors' thread" });
        }
        match tokio::time::timeout(DEADLINE, answer).await {
            Ok(Ok(told)) => Ok(told),
            // The actors' thread has left.
            Ok(Err(_)) => Err(NoAnswer::NoCore("it is stopping".to_owned())),
            Err(_) => Err(NoAnswer::Late { whom }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use highhock_actors::RecordReport;
    use highhock_actors::status::{ContainerReport, RecentChange, Standing};

    use super::*;
    use crate::settings::Admin;

    /// A daemon whose registry hangs and whose inserter is being rebuilt.
    #[derive(Default)]
    struct Ill {
        why_no_core: RefCell<Option<String>>,
        waiting: Rc<Cell<usize>>,
    }

    struct Waits(Rc<Cell<usize>>);

    impl Waits {
        fn one_more(waiting: &Rc<Cell<usize>>) -> Self {
            waiting.set(waiting.get() + 1);
            Self(Rc::clone(waiting))
        }
    }

    impl Drop for Waits {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }

    struct IllCore(Rc<Cell<usize>>);

    impl Daemon for Ill {
        fn core(&self) -> Result<Rc<dyn Observe>, String> {
            match self.why_no_core.borrow().clone() {
                Some(why) => Err(why),
                None => Ok(Rc::new(IllCore(Rc::clone(&self.waiting)))),
            }
        }

        fn reading(&self) -> Told<Reading> {
            Box::pin(std::future::pending())
        }
    }

    impl Observe for IllCore {
        fn answers(&self) -> Told<Option<()>> {
            Box::pin(std::future::ready(Some(())))
        }

        fn containers(&self) -> Told<Option<Vec<ContainerReport>>> {
            let waits = Waits::one_more(&self.0);
            Box::pin(async move {
                let _waits = waits;
                std::future::pending().await
            })
        }

        fn records(&self) -> Told<Option<Vec<RecordReport>>> {
            Box::pin(std::future::ready(None))
        }

        fn standing(&self) -> Told<Option<Standing>> {
            Box::pin(std::future::pending())
        }

        fn changes(&self) -> Vec<RecentChange> {
            Vec::new()
        }
    }

    fn open(daemon: &Rc<Ill>) -> Desk {
        let admin = Admin { listen: None, token: None, allow_remote: false };
        let (_, in_force) = watch::channel(InForce::new(admin, Vec::new()));
        Desk::open(Rc::clone(daemon) as Rc<dyn Daemon>, in_force, LastLines::default())
    }

    #[actix_rt::test]
    async fn an_actor_that_hangs_is_told_of_and_holds_up_nobody() {
        tokio::time::pause();
        let ill = Rc::new(Ill::default());
        let desk = open(&ill);
        let window = desk.window();
        let hangs = window.ask("Registry", |core| core.containers());
        let answers = window.ask("one of the actors", |core| core.answers());
        let (hung, answered) = futures_util::future::join(hangs, answers).await;
        let hung = hung.unwrap_err();
        assert_eq!(hung, NoAnswer::Late { whom: "Registry" });
        assert_eq!(hung.to_string(), "Registry did not answer within 2 s");
        assert_eq!(answered, Ok(()));
        // Nobody waits for the answer any more, and nobody keeps asking.
        tokio::task::yield_now().await;
        assert_eq!(ill.waiting.get(), 0);
        let mute = window.ask("EtcdInserter", |core| core.records()).await.unwrap_err();
        assert_eq!(mute, NoAnswer::Mute { whom: "EtcdInserter" });
    }

    #[actix_rt::test]
    async fn where_no_core_runs_the_reason_is_told() {
        let ill = Rc::new(Ill::default());
        let desk = open(&ill);
        ill.why_no_core.replace(Some("waiting for docker (no)".to_owned()));
        let told = desk.window().ask("Registry", |core| core.containers()).await.unwrap_err();
        assert_eq!(told, NoAnswer::NoCore("waiting for docker (no)".to_owned()));
        // Nor does one that has come since keep the old reason.
        ill.why_no_core.replace(None);
        assert_eq!(desk.window().ask("all", |core| core.answers()).await, Ok(()));
    }

    #[actix_rt::test]
    async fn a_daemon_that_has_gone_answers_nothing() {
        let window = open(&Rc::new(Ill::default())).window();
        tokio::task::yield_now().await;
        assert!(window.ask("all", |core| core.answers()).await.is_err());
    }
}
