//! The clock and the timers of a Worker.
//!
//! In a Worker, the clock stops while code runs and advances with each response from outside. The
//! platform does this to prevent timing attacks. Durations measured here therefore contain only
//! waiting, no computing.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};

use holdall::{
    proto::time::UnixSeconds,
    service::{Clock, Sleep},
};
use wasm_bindgen::{JsCast as _, closure::Closure};
use worker::{js_sys, send::SendFuture, web_sys::WorkerGlobalScope};

/// The isolate's clock.
#[derive(Debug, Default)]
pub(crate) struct IsolateClock {
    /// The latest time read, in milliseconds since 1970. Keeps `elapsed` from going back if the
    /// clock is set back.
    latest: AtomicU64,
}

impl Clock for IsolateClock {
    fn now(&self) -> UnixSeconds {
        UnixSeconds(millis() / 1_000)
    }

    fn elapsed(&self) -> Duration {
        let now = millis();
        Duration::from_millis(self.latest.fetch_max(now, Ordering::Relaxed).max(now))
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        sleep(duration)
    }
}

/// Completes after `duration`. Dropping it clears the timer.
pub(crate) fn sleep(duration: Duration) -> Sleep {
    Box::pin(SendFuture::new(Timer { duration, started: None, state: Rc::default() }))
}

/// Milliseconds since 1970.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float casts to the nearest value of the type"
)]
fn millis() -> u64 {
    js_sys::Date::now() as u64
}

/// A `setTimeout` that starts when it is first polled.
struct Timer {
    duration: Duration,
    started: Option<Started>,
    state: Rc<State>,
}

struct Started {
    id: i32,
    /// The callback for the platform. Kept until the platform has called it or the timer is
    /// cleared.
    _callback: Closure<dyn FnMut()>,
}

#[derive(Default)]
struct State {
    is_over: Cell<bool>,
    /// The waker of the last poll. A timer may start in the request's handler and end in the
    /// response's stream.
    waker: RefCell<Option<Waker>>,
}

impl Timer {
    fn start(&self) -> Started {
        let state = Rc::clone(&self.state);
        let callback = Closure::<dyn FnMut()>::new(move || {
            state.is_over.set(true);
            if let Some(waker) = state.waker.borrow_mut().take() {
                waker.wake();
            }
        });
        let millis = i32::try_from(self.duration.as_millis()).unwrap_or(i32::MAX);
        let function = callback.as_ref().unchecked_ref();
        // This call fails only if the argument is not a function.
        let id = scope().set_timeout_with_callback_and_timeout_and_arguments_0(function, millis).unwrap_or_default();
        Started { id, _callback: callback }
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.state.is_over.get() {
            return Poll::Ready(());
        }
        self.state.waker.borrow_mut().replace(context.waker().clone());
        if self.started.is_none() {
            self.started = Some(self.start());
        }
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(started) = self.started.as_ref().filter(|_| !self.state.is_over.get()) {
            scope().clear_timeout_with_handle(started.id);
        }
    }
}

/// The global object, with the methods of a Worker.
pub(crate) fn scope() -> WorkerGlobalScope {
    js_sys::global().unchecked_into()
}
