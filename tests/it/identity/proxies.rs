//! Whom callers without a name are counted as, behind proxies.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
};

use holdall::{
    guard::{Ask, Counted, Guard, LocalGuard, Moment, Revocation, Rules},
    principal::Peer,
    proto::{allowance::Allowance, error::Error},
    service::Service,
};
use serde_json::json;

use super::with;
use crate::support::{client::json_request, clock::TestClock, config, fake::FakeUpstream, hand::Records, upstream};

/// A guard that admits nobody, and notes whom it would have counted.
struct Watching(Arc<Mutex<Vec<Option<IpAddr>>>>);

impl Guard for Watching {
    type Permit = <LocalGuard as Guard>::Permit;

    async fn admit(&self, ask: Ask) -> Result<Self::Permit, Error> {
        self.0.lock().unwrap().push(ask.peer);
        Err(Error::Overloaded)
    }

    async fn standing(&self, counted: Counted, moment: Moment) -> Result<Vec<Allowance>, Error> {
        LocalGuard::new(Rules::default()).standing(counted, moment).await
    }

    async fn revoke(&self, revocation: Revocation, moment: Moment) -> Result<(), Error> {
        LocalGuard::new(Rules::default()).revoke(revocation, moment).await
    }
}

#[tokio::test]
async fn the_address_before_the_proxies_is_counted() {
    let settings = format!("trusted_proxies = [\"10.0.0.0/8\"]\n{}", upstream("openai", "http://model.test"));
    let config = config(&settings);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let service = Arc::new(Service::new(
        config.core,
        config.access,
        config.settings,
        FakeUpstream::default(),
        Watching(Arc::clone(&seen)),
        TestClock::default(),
        Box::new(Records::default()),
    ));
    for (peer, lines, counted) in [
        (Some("192.0.2.1"), &["6.6.6.6"][..], Some("192.0.2.1")),
        (Some("10.0.0.1"), &["6.6.6.6, 203.0.113.9"], Some("203.0.113.9")),
        (Some("10.0.0.1"), &["6.6.6.6", "203.0.113.9, 10.0.0.2"], Some("203.0.113.9")),
        (Some("10.0.0.1"), &["[2001:db8::1]:99"], Some("2001:db8::1")),
        (Some("10.0.0.1"), &["6.6.6.6, unknown"], Some("10.0.0.1")),
        (Some("10.0.0.1"), &[], Some("10.0.0.1")),
        (None, &["6.6.6.6"], None),
    ] {
        let forwarded: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
        let mut request = with(json_request("/v1/turns", &json!({ "input": "hi" })), &forwarded);
        if let Some(peer) = peer {
            request.extensions_mut().insert(Peer(peer.parse().unwrap()));
        }
        let status = Arc::clone(&service).handle(request).await.status();
        assert_eq!(status, 503);
        let counted: Option<IpAddr> = counted.map(|address| address.parse().unwrap());
        assert_eq!(seen.lock().unwrap().pop().unwrap(), counted, "{peer:?} {lines:?}");
    }
}
