//! The lifetime of one request: until the last byte of its response, or until the client leaves.
//!
//! By default, the platform stops a Worker immediately when its client leaves. Nothing is dropped
//! then: no call is aborted, no slot is released, no line is logged. Therefore each visit stays
//! open until its end ([`Visit::over`], for `waitUntil`), and ends itself when the request's signal
//! reports that the client left.

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

/// A connected client.
pub(crate) struct Visit {
    state: Rc<State>,
    signal: AbortSignal,
    /// The callback that the platform calls when the client leaves.
    _left: Closure<dyn FnMut()>,
}

#[derive(Default)]
struct State {
    has_left: Cell<bool>,
    /// True once the client can read the response.
    is_answering: Cell<bool>,
    /// True if the response was cut off.
    is_cut: Cell<bool>,
    is_over: Cell<bool>,
    /// The response body, while the client reads it.
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
    /// Starts a visit. `signal` is the signal of the client's request.
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

    /// The output of `work`, or `None` if the client leaves first. `work` is then dropped.
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

    /// Converts the response body for JavaScript. The visit ends with it.
    pub(crate) fn pieces(&self, body: Body) -> BodyPieces {
        // A client that has left reads nothing.
        if !self.state.has_left.get() {
            self.state.body.borrow_mut().replace(body);
            self.state.is_answering.set(true);
            self.state.wake();
        }
        BodyPieces(Rc::clone(&self.state))
    }

    /// Ends the visit.
    pub(crate) fn end(&self) {
        self.state.end();
    }

    /// Completes when the visit ends. A response that the client has not read within `limit` is cut
    /// off, since it would keep its slot forever.
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

/// The unread rest of a response body.
pub(crate) struct BodyPieces(Rc<State>);

impl Stream for BodyPieces {
    type Item = Result<JsValue, JsValue>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let frame = match &mut *self.0.body.borrow_mut() {
                None if self.0.is_cut.get() => {
                    return Poll::Ready(Some(Err("The client did not read the response in time.".into())));
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
