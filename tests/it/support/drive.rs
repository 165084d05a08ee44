//! A request followed to its end: the test says what each call of an upstream comes to, and time passes when all wait.

use std::time::Duration;

use holdall::guard::Guard;

use super::{
    answer::Answer,
    fake::Call,
    hand::{Hand, PendingCall},
};

/// What a request led to.
pub(crate) struct Driven {
    pub(crate) answer: Answer,
    /// The calls, in their order.
    pub(crate) calls: Vec<Call>,
}

impl Driven {
    /// How many calls the upstream of this name got.
    pub(crate) fn count(&self, upstream: &str) -> usize {
        self.calls.iter().filter(|call| call.upstream == upstream).count()
    }
}

/// Follows `asked` to its end; `answer` does with each call what it is to come to.
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
    panic!("no end");
}

/// The TOML of upstreams of these names and kinds, all behind the alias `default`, in this order.
pub(crate) fn behind_one_alias(upstreams: &[(&str, &str)]) -> String {
    let services = upstreams.iter().map(|(name, kind)| {
        format!("[[upstream]]\nname = \"{name}\"\nkind = \"{kind}\"\nbase_url = \"http://{name}.test\"\n")
    });
    let names: Vec<_> = upstreams.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let model = format!("[[model]]\nalias = \"default\"\nupstreams = [{}]\nmodel = \"m-1\"\n", names.join(", "));
    services.chain([model]).collect()
}
