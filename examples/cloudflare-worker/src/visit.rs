//! One client's stay: from its request to the last byte of its answer, or to its leaving.
//!
//! A Worker that is not told otherwise is stopped where it stands when its client leaves: nothing is dropped then, no call
//! aborted, no place given back, no line logged. So each visit is held open until its end
//! ([`Visit::over`], for `waitUntil`), and its end is seen to on the request's own signal.

use std::{
    cell::{Cell, RefCell},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_util::{
    Stream,
    future::{poll_fn, select},
};
use holdall::service::Body;
use http_body::Body as _;
use wasm_bindgen::{JsCast as _, JsValue, closure::Closure};
use worker::web_sys::AbortSignal;

use crate::{clock::sleep, stream::array};

/// A client that is here.
pub(crate) struct Visit {
    state: Rc<State>,
    signal: AbortSignal,
    /// What the platform calls when the client leaves.
    _left: Closure<dyn FnMut()>,
}

#[derive(Default)]
struct State {
    has_left: Cell<bool>,
    /// Whether the answer is there to be taken.
    is_answering: Cell<bool>,
    /// Whether the answer was ended before its end.
    is_cut: Cell<bool>,
    is_over: Cell<bool>,
    /// The answer, while it is taken.
    body: RefCell<Option<Body>>,
    wakers: RefCell<Vec<Waker>>,
}

impl State {
    fn end(&self) {
        self.is_over.set(true);
        let body = self.body.borrow_mut().take();
        drop(body);
        self.wake();
    }

    fn wake(&self) {
        let wakers = std::mem::take(&mut *self.wakers.borrow_mut());
        wakers.into_iter().for_each(Waker::wake);
    }

    fn watch(&self, context: &Context<'_>) {
        let mut wakers = self.wakers.borrow_mut();
        if !wakers.iter().any(|waker| waker.will_wake(context.waker())) {
            wakers.push(context.waker().clone());
        }
    }
}

impl Visit {
    /// Begins with the signal of the client's request.
    pub(crate) fn new(signal: AbortSignal) -> Self {
        let state = Rc::<State>::default();
        let leaving = Rc::clone(&state);
        let left = Closure::<dyn FnMut()>::new(move || {
            leaving.has_left.set(true);
            leaving.end();
        });
        signal.set_onabort(Some(left.as_ref().unchecked_ref()));
        Self { state, signal, _left: left }
    }

    /// The output of `work`, or nothing if the client left before; `work` is dropped then.
    pub(crate) async fn unless_left<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|context| {
            if self.state.has_left.get() {
                return Poll::Ready(None);
            }
            self.state.watch(context);
            work.as_mut().poll(context).map(Some)
        })
        .await
    }

    /// The answer as JavaScript takes it; its end is the visit's.
    pub(crate) fn pieces(&self, body: Body) -> BodyPieces {
        // Who has left takes nothing of it.
        if !self.state.has_left.get() {
            self.state.body.borrow_mut().replace(body);
            self.state.is_answering.set(true);
            self.state.wake();
        }
        BodyPieces(Rc::clone(&self.state))
    }

    /// There is no more to this visit.
    pub(crate) fn end(&self) {
        self.state.end();
    }

    /// Ends when the visit does. An answer that is not taken within `limit` is cut off: it would keep its place for ever.
    pub(crate) async fn over(self: Rc<Self>, limit: Duration) {
        self.until(|state| state.is_answering.get() || state.is_over.get()).await;
        select(pin!(self.until(|state| state.is_over.get())), sleep(limit)).await;
        if !self.state.is_over.get() {
            self.state.is_cut.set(true);
            self.state.end();
        }
    }

    async fn until(&self, is_so: impl Fn(&State) -> bool) {
        poll_fn(|context| {
            if is_so(&self.state) {
                return Poll::Ready(());
            }
            self.state.watch(context);
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.signal.set_onabort(None);
    }
}

/// What is left of an answer.
pub(crate) struct BodyPieces(Rc<State>);

impl Stream for BodyPieces {
    type Item = Result<JsValue, JsValue>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let frame = match &mut *self.0.body.borrow_mut() {
                None if self.0.is_cut.get() => {
                    return Poll::Ready(Some(Err("the answer was not taken in time".into())));
                }
                None => return Poll::Ready(None),
                Some(body) => std::task::ready!(Pin::new(body).poll_frame(context)),
            };
            match frame {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(array(&data).into())));
                    }
                }
                Some(Err(never)) => match never {},
                None => self.0.end(),
            }
        }
    }
}

impl Drop for BodyPieces {
    fn drop(&mut self) {
        self.0.end();
    }
}
