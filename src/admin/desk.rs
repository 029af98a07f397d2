//! Between the HTTP server's thread and the core's: questions go one way, answers the
//! other, each with a deadline.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use actix_rt::task::JoinHandle;
use futures_util::future::LocalBoxFuture;
use tokio::sync::{mpsc, oneshot, watch};

use super::observe::{Observe, Told};
use crate::logging::LastLines;
use crate::settings::{Admin, EffectiveKey};

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// How many questions may wait for the core's thread to take them.
const WAITING: usize = 64;

/// A question on its way to the core's thread.
type Question = Box<dyn FnOnce(&Standing) -> LocalBoxFuture<'static, ()> + Send>;

/// Why there is no answer, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// The deadline is over.
    #[error("{0} did not answer within {seconds} s", seconds = DEADLINE.as_secs())]
    Late(&'static str),
    /// An actor fell, and another will take its place.
    #[error("{0} is being restarted; the log says why")]
    Rebuilt(&'static str),
    /// No core runs at the moment: why.
    #[error("{0}")]
    NoCore(String),
}

/// How it stands with the core.
enum Standing {
    /// None runs, for this reason.
    Idle(String),
    Running(Rc<dyn Observe>),
}

/// What does not come from the actors.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Where to serve, and whom.
    pub admin: Admin,
    /// The settings as they hold.
    pub config: Vec<EffectiveKey>,
}

/// The core's side: lives on its thread, and is told which core runs now.
pub struct Desk {
    standing: Rc<RefCell<Standing>>,
    shown: watch::Sender<Shown>,
    window: Window,
    answering: JoinHandle<()>,
}

impl Desk {
    /// Answers questions from now on, on the current arbiter.
    pub fn open(shown: Shown, lines: LastLines) -> Self {
        let (questions, mut asked) = mpsc::channel::<Question>(WAITING);
        let standing = Rc::new(RefCell::new(Standing::Idle("it is just starting".to_owned())));
        let (shown, see) = watch::channel(shown);
        let current = Rc::clone(&standing);
        let answering = actix_rt::spawn(async move {
            while let Some(question) = asked.recv().await {
                // Each by itself: an actor that hangs holds up nobody else's answer.
                actix_rt::spawn(question(&current.borrow()));
            }
        });
        let window = Window { questions, shown: see, lines, started: SystemTime::now() };
        Self { standing, shown, window, answering }
    }

    /// From now on this core is asked.
    pub fn core_runs(&self, core: impl Observe + 'static) {
        self.standing.replace(Standing::Running(Rc::new(core)));
    }

    /// No core runs any more, or as yet: why, in words for the operator.
    pub fn no_core_runs(&self, why: impl Into<String>) {
        self.standing.replace(Standing::Idle(why.into()));
    }

    /// From now on these settings hold.
    pub fn settings_are(&self, shown: Shown) {
        self.shown.send_replace(shown);
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
    shown: watch::Receiver<Shown>,
    /// The log's last warnings and errors.
    pub lines: LastLines,
    /// When the daemon started.
    pub started: SystemTime,
}

impl Window {
    /// Asks an actor of the core that runs now. `whom` is its name, for the error.
    ///
    /// # Errors
    /// Where there is no answer in time, or no core.
    pub async fn ask<T: Send + 'static>(
        &self,
        whom: &'static str,
        question: impl FnOnce(&dyn Observe) -> Told<T> + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let (mut reply, answer) = oneshot::channel();
        let question: Question = Box::new(move |standing| match standing {
            Standing::Idle(why) => {
                let _ = reply.send(Err(NoAnswer::NoCore(why.clone())));
                Box::pin(std::future::ready(()))
            }
            Standing::Running(core) => {
                let told = question(&**core);
                Box::pin(async move {
                    let told = tokio::select! {
                        told = told => told.ok_or(NoAnswer::Rebuilt(whom)),
                        // Nobody waits any longer.
                        () = reply.closed() => return,
                    };
                    let _ = reply.send(told);
                })
            }
        });
        if self.questions.try_send(question).is_err() {
            return Err(NoAnswer::Late("the actors' thread"));
        }
        match tokio::time::timeout(DEADLINE, answer).await {
            Ok(Ok(told)) => told,
            Ok(Err(_)) => Err(NoAnswer::NoCore("it is stopping".to_owned())),
            Err(_) => Err(NoAnswer::Late(whom)),
        }
    }

    /// What does not come from the actors, as it is now.
    pub fn shown(&self) -> Shown {
        self.shown.borrow().clone()
    }

    /// A look at it that tells of changes.
    pub(super) fn watch_shown(&self) -> watch::Receiver<Shown> {
        self.shown.clone()
    }
}
