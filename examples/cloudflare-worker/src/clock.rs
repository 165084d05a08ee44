//! Time, timers and chance, as Workers have them.
//!
//! In a Worker time stands still while code runs, and moves on with each answer from outside (a guard against timing
//! attacks). So what is measured here is what was waited for, not what was computed.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};

use holdall::{
    Error,
    proto::time::UnixSeconds,
    service::{Clock, Sleep},
};
use wasm_bindgen::{JsCast as _, JsValue, closure::Closure, prelude::wasm_bindgen};
use worker::{js_sys, send::SendFuture, web_sys::WorkerGlobalScope};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues, catch)]
    fn get_random_values(bytes: &mut [u8]) -> Result<JsValue, JsValue>;
}

/// The isolate's time and chance.
#[derive(Debug, Default)]
pub(crate) struct IsolateClock {
    /// The latest time that was read, in milliseconds, so that a clock set back does not go back here.
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

    fn fill_random(&self, bytes: &mut [u8]) -> Result<(), Error> {
        let filled = get_random_values(bytes);
        filled.map(drop).map_err(|_| Error::Internal { cause: "crypto.getRandomValues gives no bytes".to_owned() })
    }
}

/// Ends after `duration`; dropping it clears the timer.
pub(crate) fn sleep(duration: Duration) -> Sleep {
    Box::pin(SendFuture::new(Timer { duration, started: None, state: Rc::default() }))
}

/// Milliseconds since 1970.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float casts to the nearest number there is"
)]
fn millis() -> u64 {
    js_sys::Date::now() as u64
}

/// A `setTimeout`, which begins when it is first polled.
struct Timer {
    duration: Duration,
    started: Option<Started>,
    state: Rc<State>,
}

struct Started {
    id: i32,
    /// What the platform calls; kept until it did or the timer is cleared.
    _callback: Closure<dyn FnMut()>,
}

#[derive(Default)]
struct State {
    is_over: Cell<bool>,
    /// Who polled last: a timer may begin in the request's handler and end in its answer's stream.
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
        // Only what is no function is refused.
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

/// The global object, with the methods that a Worker has.
pub(crate) fn scope() -> WorkerGlobalScope {
    js_sys::global().unchecked_into()
}
