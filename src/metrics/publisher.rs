//! Moves what a log has counted and measured to the recorder.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::metrics::{Counter, Gauge, Histogram, Label, counter, gauge, histogram};

use super::describe;
use super::series::{Sample, Series, Value, all};
use crate::config::WalConfig;
use crate::engine::recovery::RecoveryReport;
use crate::engine::state::meter::distribution::Read;
use crate::engine::state::shared::Shared;
use crate::error::OpenError;
use crate::runtime::threads::{SystemThreads, Threads, Turn, Worker};

/// The name of the thread.
const THREAD: &str = "wal-metrics";

/// How often the thread publishes.
const EVERY: Duration = Duration::from_secs(1);

/// How often a closed log is published at most, while its flush thread has not ended.
const PATIENCE: u32 = 60;

/// The name of a log among those of its process.
fn name(config: &WalConfig, shared: &Shared) -> Arc<str> {
    let directory = || config.directory.display().to_string();
    match (&config.name, shared.meter.location()) {
        (Some(name), _) => name.as_str().into(),
        (None, Some(location)) => location.into(),
        (None, None) => directory().into(),
    }
}

fn labels(log: &Arc<str>, others: &[(&'static str, &'static str)]) -> Vec<Label> {
    let log = Label::new("log", Arc::clone(log));
    let others = others.iter().map(|(name, value)| Label::from_static_parts(name, value));
    std::iter::once(log).chain(others).collect()
}

/// Counts an open that has found damage and refused the log. Other failures say nothing about its disk.
pub(crate) fn note_refused_open(config: &WalConfig, shared: &Shared, error: &OpenError) {
    if let OpenError::Damaged(_) = error {
        guarded(|| {
            describe();
            let labels = labels(&name(config, shared), &[("outcome", "refused")]);
            counter!("wal_damages_total", labels).increment(1);
        });
    }
}

/// Calls the recorder, which belongs to the host. If it panics, the log goes on without metrics.
fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(call))
        .inspect_err(|_| tracing::error!("the recorder of metrics panicked"))
        .ok()
}

/// A series with its place in the recorder, and what it has given to that.
enum Target {
    Counter(Counter, u64),
    Gauge(Gauge),
    Histogram(Histogram, Read),
}

impl Target {
    fn of(series: &Series, log: &Arc<str>, shared: &Shared) -> Self {
        let labels = labels(log, &series.labels);
        match &series.value {
            Value::Counter(_) => {
                let counter = counter!(series.name, labels);
                // So that the series is there before the first event.
                counter.increment(0);
                Target::Counter(counter, 0)
            }
            Value::Gauge(..) => Target::Gauge(gauge!(series.name, labels)),
            Value::Histogram(of, _) => {
                let histogram = histogram!(series.name, labels);
                Target::Histogram(histogram, Read::new(of(&shared.meter)))
            }
        }
    }
}

struct Published {
    series: Vec<(Series, Target)>,
    /// I/O errors by operation and error number, once there was one.
    errors: BTreeMap<(&'static str, i32), (Counter, u64)>,
    /// How often it was published that the log has closed.
    closed: u32,
    /// Whether nothing is published any more: another log may have the name now.
    ended: bool,
}

/// Publishes the metrics of one log.
#[derive(Clone)]
pub(crate) struct Publisher {
    log: Arc<str>,
    published: Arc<Mutex<Published>>,
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("log", &self.log).finish_non_exhaustive()
    }
}

impl Publisher {
    /// Registers all series of a log with the recorder of this thread, and publishes what they are now.
    pub(crate) fn new(config: &WalConfig, shared: &Arc<Shared>, report: &RecoveryReport) -> Self {
        let log = name(config, shared);
        let with_target = |series: Series| {
            let target = Target::of(&series, &log, shared);
            (series, target)
        };
        let series = guarded(|| {
            describe();
            all(report).into_iter().map(with_target).collect()
        });
        let (series, errors) = (series.unwrap_or_default(), BTreeMap::new());
        let published = Published { series, errors, closed: 0, ended: false };
        let publisher = Publisher { log, published: Arc::new(Mutex::new(published)) };
        publisher.publish(shared);
        publisher
    }

    /// Publishes what was added since the last time, and what is now. Whether there is more to come.
    pub(crate) fn publish(&self, shared: &Shared) -> bool {
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        if published.ended {
            return false;
        }
        // Before the sample: what happens after it is for the next time.
        let is_detached = shared.meter.is_detached();
        let sample = Sample::of(shared);
        let given = guarded(|| {
            published.give(&sample, shared);
            published.give_errors(&self.log, shared);
        });
        published.closed += u32::from(sample.is_closed());
        // The flush thread may still write what it has when an actor has closed the log.
        let is_over = sample.is_closed() && (is_detached || published.closed >= PATIENCE);
        published.ended = is_over || given.is_none();
        !published.ended
    }

    /// Publishes once a second, and when the state changes, on a thread that ends with the log.
    pub(crate) fn run_in_background(&self, shared: &Arc<Shared>) {
        let worker =
            Background { publisher: self.clone(), shared: Arc::clone(shared), turn: Turn::Work };
        if let Err(error) = SystemThreads.spawn(THREAD, Box::new(worker)) {
            tracing::warn!(%error, "metrics are published only when the host asks for it");
        }
    }
}

impl Published {
    fn give(&mut self, sample: &Sample<'_>, shared: &Shared) {
        for (series, target) in &mut self.series {
            match (&series.value, target) {
                (Value::Counter(read), Target::Counter(counter, given)) => {
                    let total = read(sample);
                    counter.increment(total.saturating_sub(*given));
                    *given = total.max(*given);
                }
                (Value::Gauge(_, Some(at_end)), Target::Gauge(gauge)) if sample.is_closed() => {
                    gauge.set(*at_end);
                }
                (Value::Gauge(read, _), Target::Gauge(gauge)) => gauge.set(read(sample)),
                (Value::Histogram(of, units), Target::Histogram(histogram, given)) => {
                    given.news(of(&shared.meter), |mean, count| {
                        histogram.record_many(mean / units, count);
                    });
                }
                // A target is made from its series.
                _ => {}
            }
        }
    }

    fn give_errors(&mut self, log: &Arc<str>, shared: &Shared) {
        let of_preparer = shared.preparer_errors();
        let mut totals: BTreeMap<_, u64> = BTreeMap::new();
        let preparer = of_preparer.iter().flat_map(|errors| errors.all());
        for (op, errno, count) in shared.meter.errors.all().chain(preparer) {
            *totals.entry((op, errno)).or_default() += count;
        }
        for ((op, errno), total) in totals {
            let (counter, given) = self.errors.entry((op, errno)).or_insert_with(|| {
                let mut labels = labels(log, &[("op", op)]);
                labels.push(Label::new("errno", errno_name(errno)));
                (counter!("wal_io_errors_total", labels), 0)
            });
            counter.increment(total - *given);
            *given = total;
        }
    }
}

/// The error numbers that a disk gives, by their names.
fn errno_name(errno: i32) -> String {
    use rustix::io::Errno;
    const NAMES: [(Errno, &str); 22] = [
        (Errno::IO, "EIO"),
        (Errno::NOSPC, "ENOSPC"),
        (Errno::DQUOT, "EDQUOT"),
        (Errno::ROFS, "EROFS"),
        (Errno::ACCESS, "EACCES"),
        (Errno::PERM, "EPERM"),
        (Errno::FBIG, "EFBIG"),
        (Errno::MFILE, "EMFILE"),
        (Errno::NFILE, "ENFILE"),
        (Errno::NOMEM, "ENOMEM"),
        (Errno::AGAIN, "EAGAIN"),
        (Errno::INTR, "EINTR"),
        (Errno::NOENT, "ENOENT"),
        (Errno::EXIST, "EEXIST"),
        (Errno::INVAL, "EINVAL"),
        (Errno::BADF, "EBADF"),
        (Errno::NXIO, "ENXIO"),
        (Errno::NODEV, "ENODEV"),
        (Errno::STALE, "ESTALE"),
        (Errno::TIMEDOUT, "ETIMEDOUT"),
        (Errno::UCLEAN, "EUCLEAN"),
        (Errno::BADMSG, "EBADMSG"),
    ];
    match NAMES.iter().find(|(known, _)| known.raw_os_error() == errno) {
        _ if errno == 0 => "none".to_owned(),
        Some((_, name)) => (*name).to_owned(),
        None => errno.to_string(),
    }
}

/// What the thread does. It keeps neither the log open nor its directory locked. The actors of the log close it when they
/// are dropped, so it comes to its end, and publishes that.
struct Background {
    publisher: Publisher,
    shared: Arc<Shared>,
    turn: Turn,
}

impl Worker for Background {
    fn look(&mut self) -> Turn {
        self.turn
    }

    fn work(&mut self) {
        // Here and not where the host asks: it may take as long as the disk does.
        self.shared.meter.measure_space();
        let more = self.publisher.publish(&self.shared);
        self.turn = if more { Turn::Wait(Some(EVERY)) } else { Turn::End };
    }

    fn wait(&mut self, at_most: Option<Duration>) {
        // An error says that the time is over.
        let _ = self.shared.meter.changes().recv_timeout(at_most.unwrap_or(EVERY));
        self.turn = Turn::Work;
    }

    fn is_called(&self) -> bool {
        !self.shared.meter.changes().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_number_has_its_name_and_an_unknown_one_its_number() {
        assert_eq!([0, 5, 28, 4095].map(errno_name), ["none", "EIO", "ENOSPC", "4095"]);
    }
}
