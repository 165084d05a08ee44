//! Drives a request to its end. The test answers each upstream call, and time advances when all
//! tasks wait.

use std::time::Duration;

use holdall::guard::Guard;

use super::{
    answer::Answer,
    fake::Call,
    hand::{Hand, PendingCall},
};

/// The result of a request.
pub(crate) struct Driven {
    pub(crate) answer: Answer,
    /// The upstream calls, in order.
    pub(crate) calls: Vec<Call>,
}

impl Driven {
    /// The number of calls to the upstream of this name.
    pub(crate) fn count(&self, upstream: &str) -> usize {
        self.calls.iter().filter(|call| call.upstream == upstream).count()
    }
}

/// Drives `asked` to its end. `answer` answers each upstream call.
#[track_caller]
pub(crate) fn drive<G: Guard>(hand: &Hand<G>, asked: PendingCall, mut answer: impl FnMut(&mut Call)) -> Driven {
    let (mut asked, mut coming, mut body, mut calls) = (Some(asked), None, Vec::new(), Vec::new());
    for step in 0..5_000 {
        if let Some(waiting) = asked.take_if(|asked| !asked.is_waiting()) {
            coming = Some(waiting.head());
        }
        if let Some(coming) = &mut coming {
            let (chunks, ended) = coming.chunks();
            body.extend(chunks.concat());
            if ended {
                let (status, headers) = (coming.head.status, coming.head.headers.clone());
                return Driven { answer: Answer { status, headers, body: body.into() }, calls };
            }
        }
        if hand.upstream.is_called() {
            let mut call = hand.upstream.call();
            answer(&mut call);
            calls.push(call);
        } else {
            hand.clock.advance(Duration::from_millis(if step < 500 { 20 } else { 1_000 }));
        }
    }
    panic!("the request does not end");
}

/// The TOML of upstreams with these names and kinds, in this order, with the alias `default`.
pub(crate) fn behind_one_alias(upstreams: &[(&str, &str)]) -> String {
    let services = upstreams.iter().map(|(name, kind)| {
        format!("[[upstream]]\nname = \"{name}\"\nkind = \"{kind}\"\nbase_url = \"http://{name}.test\"\n")
    });
    let names: Vec<_> = upstreams.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let model = format!("[[model]]\nalias = \"default\"\nupstreams = [{}]\nmodel = \"m-1\"\n", names.join(", "));
    services.chain([model]).collect()
}
