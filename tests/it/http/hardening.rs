//! Attacks on the transport, byte by byte: each is rejected or limited, and other clients are
//! served meanwhile.

mod floods;
mod peers;
mod slow;
mod smuggling;
mod unread;
