//! The loop between channels, tasks and timers: receives batches, builds them ahead, keeps as many
//! in flight as allowed, and sleeps when there is nothing to do. `completion` handles the end of
//! tasks.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::{AbortHandle, Id, yield_now};
use tokio::time::{Instant, sleep_until, timeout};

use super::connect_attempt::{Attempt, CONNECT_WITHIN, Linked, attempt};
use super::credit::Credits;
use super::ends::{CheckRequest, Concurrency, Ends, PANIC};
use super::group_lane::GroupLane;
use super::link::LinkState;
use super::link_view::View;
use super::load_lane::LoadLanes;
use super::namespace_backoff::NamespaceBackoffs;
use super::options::WorkerOptions;
use super::outbox::{LagReports, Outbox};
use super::renewal::Renewal;
use super::slow_namespaces::SlowNamespaces;
use super::tasks::{BatchEnd, Joined, SentBatch, Tasks, WaitingBatch};
use super::wake::Listener;
use crate::core::delivery::batch::{Batch, SessionId};
use crate::core::delivery::comparison::CompareRequest;
use crate::core::delivery::concurrency::Flow;
use crate::core::delivery::group_batch::GroupBatch;
use crate::core::delivery::page::{FindRequest, LoadMessage};
use crate::core::delivery::report::Report;
use crate::core::ids::{FindId, RunId};
use crate::sink::{Connector, LinkError, Sink};

/// Time limit for a write that hangs; a sink has shorter limits of its own.
pub const WRITE_WITHIN: Duration = Duration::from_secs(300);
/// The error when one of these time limits was reached.
pub(super) const SILENT: &str = "MongoDB does not answer at all";
/// The same at a stop.
const STOP_CLOSE_WITHIN: Duration = Duration::from_millis(200);
/// Number of polls that the driver needs to send a command: pool, task, socket.
const POLLS_TO_SEND: u32 = 8;

type SinkCommands<C> = <<C as Connector>::Sink as Sink>::Commands;

/// The worker's state. It outlives its runtime, so that no batch is lost when the runtime fails.
pub struct WriteLoop<C: Connector> {
    pub(super) connector: Rc<C>,
    pub(super) options: WorkerOptions,
    pub(super) ends: LoopEnds,
    pub(super) outbox: Outbox,
    pub(super) lag: LagReports,
    pub(super) link: LinkState,
    pub(super) backoffs: NamespaceBackoffs,
    pub(super) slow_namespaces: SlowNamespaces,
    pub(super) credits: Credits,
    pub(super) flow: Flow,
    /// Sessions of sinks that are no longer used.
    pub(super) former_sessions: Vec<SessionId>,
    /// The number of this sink's sessions that were reported to the server thread.
    pub(super) sessions_reported: usize,
    pub(super) linked: Option<Rc<Linked<C::Sink>>>,
    pub(super) retired: Vec<Rc<Linked<C::Sink>>>,
    pub(super) waiting: VecDeque<WaitingBatch<SinkCommands<C>>>,
    pub(super) flights: HashMap<Id, SentBatch<C::Sink>>,
    /// The group batches.
    pub(super) groups: GroupLane<C::Sink>,
    pub(super) attempt: Option<AbortHandle>,
    pub(super) attempt_at: Option<Instant>,
    pub(super) renewal: Renewal,
    /// The link as the sink reports it.
    pub(super) view: View,
    /// The ids of running checks.
    pub(super) checks: HashMap<Id, u64>,
    /// The loads that are being read.
    pub(super) loads: LoadLanes<C::Sink>,
    /// The tasks that read the documents of keys.
    pub(super) finds: HashMap<Id, FindId>,
    /// The tasks that compare keys with their documents.
    pub(super) comparisons: HashMap<Id, RunId>,
}

/// The ends that the write loop uses itself; the others are in the outbox.
pub struct LoopEnds {
    batches: crossbeam_channel::Receiver<Batch>,
    pub(super) groups: crossbeam_channel::Receiver<GroupBatch>,
    options: crossbeam_channel::Receiver<WorkerOptions>,
    pub(super) checks: crossbeam_channel::Receiver<CheckRequest>,
    pub(super) loads: crossbeam_channel::Receiver<LoadMessage>,
    pub(super) finds: crossbeam_channel::Receiver<FindRequest>,
    pub(super) comparisons: crossbeam_channel::Receiver<CompareRequest>,
    doorbell: super::wake::Doorbell,
    stopping: std::sync::Arc<std::sync::atomic::AtomicBool>,
    concurrency: std::sync::Arc<Concurrency>,
    pub(super) now_us: fn() -> u64,
}

impl<C: Connector> WriteLoop<C> {
    /// A write loop without batches and connection.
    pub fn new(connector: C, options: WorkerOptions, ends: Ends) -> Self {
        WriteLoop {
            connector: Rc::new(connector),
            options,
            outbox: Outbox::new(ends.reports, ends.asked, ends.wake_server),
            lag: LagReports::new((ends.now_us)()),
            ends: LoopEnds {
                batches: ends.batches,
                groups: ends.groups,
                options: ends.options,
                checks: ends.checks,
                loads: ends.loads,
                finds: ends.finds,
                comparisons: ends.comparisons,
                doorbell: ends.doorbell,
                stopping: ends.stopping,
                concurrency: ends.concurrency,
                now_us: ends.now_us,
            },
            link: LinkState::idle(),
            backoffs: NamespaceBackoffs::default(),
            slow_namespaces: SlowNamespaces::default(),
            credits: Credits::default(),
            flow: Flow::default(),
            former_sessions: Vec::new(),
            sessions_reported: 0,
            linked: None,
            retired: Vec::new(),
            waiting: VecDeque::new(),
            flights: HashMap::new(),
            groups: GroupLane::default(),
            attempt: None,
            attempt_at: None,
            renewal: Renewal::default(),
            view: View::default(),
            checks: HashMap::new(),
            loads: HashMap::new(),
            finds: HashMap::new(),
            comparisons: HashMap::new(),
        }
    }

    /// Runs until `stopping` is set.
    ///
    /// # Errors
    /// When the process has no file descriptors left.
    pub async fn run(&mut self) -> io::Result<()> {
        let listener = self.ends.doorbell.listen()?;
        let mut tasks = Tasks::new();
        while !self.ends.stopping.load(Ordering::SeqCst) {
            while let Some(joined) = tasks.try_join_next_with_id() {
                self.joined(joined);
            }
            self.take_options();
            self.take_batches();
            self.follow_link_state();
            self.connect_if_due(&mut tasks);
            self.begin_checks(&mut tasks);
            self.read_pages(&mut tasks);
            self.find_documents(&mut tasks);
            self.compare(&mut tasks);
            self.mark_overdue_slow();
            let sent =
                self.may_write() && self.send_batches(&mut tasks) | self.send_groups(&mut tasks);
            self.close_retired(&mut tasks);
            self.grant();
            self.report_sessions();
            self.report_lease();
            self.report_lag();
            self.outbox.flush();
            if sent {
                for _ in 0..POLLS_TO_SEND {
                    yield_now().await;
                }
            }
            if self.build_one() {
                yield_now().await;
            } else {
                self.sleep(&listener, &mut tasks).await;
            }
        }
        self.stop(tasks).await;
        Ok(())
    }

    fn take_options(&mut self) {
        let Some(options) = self.ends.options.try_iter().last() else {
            return;
        };
        let moved = options.needs_other_sink(&self.options);
        let had_claim = self.options.claim.is_some() || self.renewal.is_replaced;
        self.renewal.is_replaced = had_claim && options.claim.is_none();
        self.options = options;
        if !moved {
            return;
        }
        self.link.reset();
        self.end_loads();
        self.end_finds();
        self.end_comparisons();
        if let Some(attempt) = self.attempt.take() {
            attempt.abort();
        }
        self.view = View::default();
        let used = self.linked.is_some() || !self.link.accepts_batches();
        if let Some(linked) = self.linked.take() {
            self.retire(linked);
        }
        for waiting in &mut self.waiting {
            waiting.commands = None;
        }
        if used {
            self.attempt_at = Some(Instant::now());
        }
    }

    fn take_batches(&mut self) {
        while let Ok(batch) = self.ends.batches.try_recv() {
            self.arrived(&batch);
            self.waiting.push_back(WaitingBatch { batch, commands: None });
        }
        while let Ok(groups) = self.ends.groups.try_recv() {
            self.groups.waiting.push_back(groups);
        }
        // What a former master has queued is not written by a replica.
        if !self.link.accepts_batches() || self.renewal.is_replaced {
            self.return_waiting();
        }
    }

    /// Starts a connect attempt when one is due, or when there is no sink and the link is needed.
    fn connect_if_due(&mut self, tasks: &mut Tasks<C::Sink>) {
        if !self.needs_link() {
            return self.close_link();
        }
        let now = Instant::now();
        if self.linked.is_none() {
            self.attempt_at.get_or_insert(now);
        }
        self.renew_if_due(tasks, now);
        if self.attempt.is_some() || self.attempt_at.is_none_or(|at| at > now) {
            return;
        }
        self.attempt_at = None;
        self.renewal.began = Some(now);
        let (connector, last) = (Rc::clone(&self.connector), self.linked.clone());
        let mut options = self.options.clone();
        options.former_sessions.extend(&self.former_sessions);
        self.attempt = Some(tasks.spawn_local(async move {
            let limited = timeout(CONNECT_WITHIN, attempt(connector, last.clone(), options)).await;
            BatchEnd::Connected(limited.unwrap_or_else(|_| Attempt {
                linked: last,
                link: Err(LinkError::transient(SILENT)),
            }))
        }));
    }

    /// Builds the commands of the first batch that has none, slow ones last. True if there was one.
    fn build_one(&mut self) -> bool {
        let Some(linked) = &self.linked else {
            return false;
        };
        let unbuilt = |waiting: &WaitingBatch<_>| waiting.commands.is_none();
        let usual = |waiting: &WaitingBatch<_>| unbuilt(waiting) && !self.is_slow(&waiting.batch);
        let first = self.waiting.iter().position(usual);
        let Some(at) = first.or_else(|| self.waiting.iter().position(unbuilt)) else {
            return false;
        };
        let Some(waiting) = self.waiting.get_mut(at) else {
            return false;
        };
        let form = self.options.write_form;
        let building = AssertUnwindSafe(|| linked.sink.build(&waiting.batch, form));
        match catch_unwind(building) {
            Ok(commands) => waiting.commands = Some(commands),
            Err(_) => {
                if let Some(waiting) = self.waiting.remove(at) {
                    self.namespace_failed(waiting.batch, PANIC.to_owned(), false);
                }
            }
        }
        true
    }

    fn grant(&mut self) {
        let allowed = self.flow.allowed(self.options.max_in_flight);
        let in_flight = u32::try_from(self.flights.len()).unwrap_or(u32::MAX);
        self.ends.concurrency.set(in_flight, allowed);
        if !self.link.accepts_batches() {
            return;
        }
        let (usual, slow) = self.credits.grant(allowed);
        if usual > 0 {
            self.outbox.push(Report::Credit(usual));
        }
        if slow > 0 {
            self.outbox.push(Report::SlowCredit(slow));
        }
        if let more @ 1.. = self.groups.grant() {
            self.outbox.push(Report::GroupCredit(more));
        }
    }

    fn report_lag(&mut self) {
        for report in self.lag.due((self.ends.now_us)()) {
            self.outbox.push(report);
        }
    }

    async fn sleep(&mut self, listener: &Listener, tasks: &mut Tasks<C::Sink>) {
        let lag_in = self.lag.due_in_us((self.ends.now_us)()).map(Duration::from_micros);
        let lag_at = lag_in.map(|pause| Instant::now() + pause);
        let attempt_at = self.attempt_at.filter(|_| self.attempt.is_none());
        let renew_at = self.renewal.at.filter(|_| self.attempt.is_none());
        let wake_at = [lag_at, attempt_at, renew_at, self.view.fails_at(), self.slow_at()];
        let wake_at = wake_at.into_iter().flatten().min();
        let linked = self.linked.clone();
        let link_changed = async {
            match &linked {
                Some(linked) => linked.sink.link_changed().await,
                None => std::future::pending().await,
            }
        };
        listener.announce_sleep();
        if !self.has_messages() {
            tokio::select! {
                () = listener.rung() => {}
                () = link_changed => {}
                Some(joined) = tasks.join_next_with_id(), if !tasks.is_empty() => {
                    self.joined(joined);
                }
                () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {}
            }
        }
        listener.awake();
    }

    fn has_messages(&self) -> bool {
        !self.ends.batches.is_empty()
            || !self.ends.groups.is_empty()
            || !self.ends.options.is_empty()
            || !self.ends.checks.is_empty()
            || !self.ends.loads.is_empty()
            || !self.ends.finds.is_empty()
            || !self.ends.comparisons.is_empty()
            || self.ends.stopping.load(Ordering::SeqCst)
    }

    pub(super) fn now_us(&self) -> u64 {
        (self.ends.now_us)()
    }

    fn joined(&mut self, joined: Joined<C::Sink>) {
        let (id, ended) = match joined {
            Ok((id, ended)) => (id, Some(ended)),
            Err(error) => (error.id(), None),
        };
        self.ended(id, ended);
    }

    /// Stops: batches in flight are abandoned.
    async fn stop(&mut self, mut tasks: Tasks<C::Sink>) {
        tasks.shutdown().await;
        self.attempt = None;
        self.take_batches();
        self.return_all("the module stops");
        self.fail_checks("the module stops");
        if let Some(linked) = self.linked.take() {
            let _ = timeout(STOP_CLOSE_WITHIN, linked.sink.close()).await;
        }
        self.retired.clear();
        self.outbox.flush();
    }
}
