//! The address that anonymous callers count by, behind proxies.

use std::net::IpAddr;

use holdall::principal::Peer;
use serde_json::json;

use super::with;
use crate::support::{client::json_request, config, guard::RecordingGuard, hand::Hand, upstream};

#[test]
fn the_address_before_the_proxies_counts() {
    let settings = format!("trusted_proxies = [\"10.0.0.0/8\"]\n{}", upstream("openai", "http://model.test"));
    let guard = RecordingGuard::default();
    let hand = Hand::guarded(config(&settings), guard.clone());
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
        hand.ask(request).wait();
        let counted: Option<IpAddr> = counted.map(|address| address.parse().unwrap());
        assert_eq!(guard.requests().remove(0).peer, counted, "{peer:?} {lines:?}");
    }
}
