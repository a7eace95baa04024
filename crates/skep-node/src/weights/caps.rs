//! The owner's caps on what this machine sends and receives of weights, which may change while it does.

use super::bucket::Bucket;
use crate::steward::Lending;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What weights get in either direction where everything else takes more than the cap: a fetch then still comes to its end.
const LEAST: u64 = 10_000;

/// Who may have how much, and when.
#[derive(Debug)]
pub(crate) struct Caps {
    /// The most bytes per second that the command line lets this machine send.
    flag: Option<u64>,
    /// Whether the owner lends the machine now.
    lends: AtomicBool,
    started: Instant,
    upload: Mutex<Option<Bucket>>,
    download: Mutex<Option<Bucket>>,
    received: AtomicU64,
    /// What the owner's own pulls may take where weights of others are not limited; else these share `download`.
    pulls: Mutex<Option<Bucket>>,
    pulled: AtomicU64,
}

impl Caps {
    /// What the command line says; 0 gives nothing to anybody.
    pub(super) fn new(flag: Option<u64>) -> Self {
        Self {
            flag,
            lends: AtomicBool::new(true),
            started: Instant::now(),
            upload: Mutex::new(flag.map(Bucket::new)),
            download: Mutex::default(),
            received: AtomicU64::new(0),
            pulls: Mutex::default(),
            pulled: AtomicU64::new(0),
        }
    }

    /// Why nothing is given now, if so.
    pub(super) fn refusal(&self) -> Option<&'static str> {
        if self.flag == Some(0) {
            return Some("the owner of this machine lets it send no weights");
        }
        (!self.lends.load(Ordering::Relaxed)).then_some("this machine's owner lends it to nobody now")
    }

    /// Keeps to the owner's limits from now on, where everything but weights takes so many bytes per second of them. What is being sent
    /// breaks off when the machine is not lent any more.
    pub(crate) fn lend(&self, lending: &Lending, (sent, received): (u64, u64)) {
        self.lends.store(!lending.drops_weights, Ordering::Relaxed);
        let left = |cap: Option<u64>, taken: u64| cap.map(|cap| cap.saturating_sub(taken).max(LEAST));
        let upload = left(lending.upload, sent).into_iter().chain(self.flag).min();
        set(&self.upload, upload);
        set(&self.download, left(lending.download, received));
    }

    /// Limits only what the owner pulls, where everything else takes so many bytes per second of it.
    pub(crate) fn limit_pulls(&self, download: Option<u64>, taken: u64) {
        set(&self.pulls, download.map(|cap| cap.saturating_sub(taken).max(LEAST)));
    }

    /// Counts bytes that were pulled from elsewhere, and says how long to wait before more are.
    pub(crate) fn wait_to_pull(&self, bytes: u64) -> Duration {
        self.pulled.fetch_add(bytes, Ordering::Relaxed);
        let now = self.started.elapsed();
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let wait = |bucket: &Mutex<Option<Bucket>>| lock(bucket).as_mut().map(|bucket| bucket.take(now, bytes));
        wait(&self.pulls).or_else(|| wait(&self.download)).unwrap_or_default()
    }

    /// Bytes pulled from elsewhere so far.
    pub(crate) fn pulled_bytes(&self) -> u64 {
        self.pulled.load(Ordering::Relaxed)
    }

    /// Whether a cap holds back what is sent.
    pub(super) fn holds_back(&self) -> bool {
        lock(&self.upload).is_some()
    }

    /// Bytes of slices received so far.
    pub(super) fn received_bytes(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Waits until so many bytes may be sent.
    pub(super) async fn wait_to_send(&self, bytes: usize) {
        self.wait(&self.upload, bytes).await;
    }

    /// Waits until so many bytes more may be received: those who send them are held back by the transport.
    pub(super) async fn wait_to_receive(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        self.wait(&self.download, bytes).await;
    }

    async fn wait(&self, bucket: &Mutex<Option<Bucket>>, bytes: usize) {
        let now = self.started.elapsed();
        let wait = lock(bucket).as_mut().map_or(Duration::ZERO, |bucket| bucket.take(now, bytes));
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}

fn set(bucket: &Mutex<Option<Bucket>>, rate: Option<u64>) {
    let mut bucket = lock(bucket);
    match (&mut *bucket, rate) {
        (Some(bucket), Some(rate)) => bucket.set_rate(rate),
        (bucket, rate) => *bucket = rate.map(Bucket::new),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(bucket: &Mutex<Option<Bucket>>) -> Option<u64> {
        lock(bucket).as_ref().map(Bucket::rate)
    }

    #[test]
    fn weights_get_what_the_rest_leaves_of_the_smaller_cap() {
        let caps = Caps::new(Some(1_000_000));
        assert_eq!((rate(&caps.upload), rate(&caps.download)), (Some(1_000_000), None));
        let lending = Lending { upload: Some(600_000), download: Some(50_000), ..Lending::unlimited() };
        caps.lend(&lending, (100_000, 49_999));
        assert_eq!((rate(&caps.upload), rate(&caps.download)), (Some(500_000), Some(LEAST)));
        caps.lend(&Lending::unlimited(), (100_000, 0));
        assert_eq!((rate(&caps.upload), rate(&caps.download)), (Some(1_000_000), None));
        assert!(caps.holds_back() && !Caps::new(None).holds_back());
    }

    #[test]
    fn what_the_owner_pulls_shares_the_cap_of_weights_or_has_one_alone() {
        let caps = Caps::new(None);
        assert_eq!(caps.wait_to_pull(1 << 30), Duration::ZERO);
        caps.limit_pulls(Some(100_000), 40_000);
        assert_eq!((rate(&caps.pulls), rate(&caps.download)), (Some(60_000), None));
        caps.limit_pulls(None, 0);
        caps.lend(&Lending { download: Some(1_000_000), ..Lending::unlimited() }, (0, 0));
        caps.wait_to_pull(10_000_000);
        assert!(caps.wait_to_pull(1) > Duration::from_secs(5));
        assert_eq!((caps.pulled_bytes(), caps.received_bytes()), ((1 << 30) + 10_000_001, 0));
    }

    #[test]
    fn nothing_is_given_while_nothing_is_lent() {
        let caps = Caps::new(None);
        assert_eq!(caps.refusal(), None);
        caps.lend(&Lending { drops_weights: true, ..Lending::unlimited() }, (0, 0));
        assert_eq!(caps.refusal(), Some("this machine's owner lends it to nobody now"));
        caps.lend(&Lending::unlimited(), (0, 0));
        assert_eq!(caps.refusal(), None);
        assert!(Caps::new(Some(0)).refusal().is_some());
    }
}
