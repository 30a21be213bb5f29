//! Futures that are polled when they were woken, and not whenever their task is.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::lock;

/// A future beside one that is woken far more often. To poll a timer, or whether the run is to end,
/// takes locks that all tasks share.
pub(crate) struct Resting<F> {
    future: Pin<Box<F>>,
    bell: Arc<Bell>,
    /// What rings the bell.
    waker: Waker,
    /// The task that polled last.
    task: Waker,
}

struct Bell {
    rung: AtomicBool,
    task: Mutex<Waker>,
}

impl<F: Future> Resting<F> {
    pub(crate) fn new(future: F) -> Self {
        let task = Waker::noop().clone();
        let bell = Arc::new(Bell { rung: AtomicBool::new(true), task: Mutex::new(task.clone()) });
        Self { future: Box::pin(future), waker: bell.clone().into(), bell, task }
    }

    /// The future, to be changed; it is polled the next time.
    pub(crate) fn change(&mut self) -> Pin<&mut F> {
        self.bell.rung.store(true, Ordering::Relaxed);
        self.future.as_mut()
    }
}

impl<F: Future> Future for Resting<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        if !this.task.will_wake(cx.waker()) {
            this.task.clone_from(cx.waker());
            lock::lock(&this.bell.task).clone_from(cx.waker());
        }
        // Whoever rings now finds the task that was just left there.
        if !this.bell.rung.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        this.bell.rung.store(false, Ordering::Release);
        this.future.as_mut().poll(&mut Context::from_waker(&this.waker))
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        lock::lock(&self.task).wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    /// Counts how often it was polled, and tells whom it would wake.
    struct Polled<'a>(&'a mut u32, &'a Mutex<Option<Waker>>);

    impl Future for Polled<'_> {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            *self.0 += 1;
            *self.1.lock().unwrap() = Some(cx.waker().clone());
            if *self.0 == 3 { Poll::Ready(()) } else { Poll::Pending }
        }
    }

    #[derive(Default)]
    struct Task(AtomicU32);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn it_is_polled_when_it_was_woken() {
        let (mut polled, waker) = (0, Mutex::default());
        let mut resting = Resting::new(Polled(&mut polled, &waker));
        let (first, second) = (Arc::<Task>::default(), Arc::<Task>::default());
        let wake = || waker.lock().unwrap().as_ref().unwrap().wake_by_ref();
        let mut poll = |task: &Arc<Task>| {
            let waker = task.clone().into();
            Pin::new(&mut resting).poll(&mut Context::from_waker(&waker))
        };
        assert!(poll(&first).is_pending());
        assert!(poll(&first).is_pending());
        wake();
        assert_eq!(first.0.load(Ordering::Relaxed), 1);
        assert!(poll(&second).is_pending());
        assert!(poll(&second).is_pending());
        // It has moved to another task.
        wake();
        assert_eq!((first.0.load(Ordering::Relaxed), second.0.load(Ordering::Relaxed)), (1, 1));
        assert!(poll(&second).is_ready());
        drop(resting);
        assert_eq!(polled, 3);
    }
}
