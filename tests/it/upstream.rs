//! Model services over real sockets: what they refuse, break off, garble or never end comes out as the right code, within
//! bounds, and costs nobody a token.

mod bounds;
mod care;
mod cuts;
mod failover;
mod faults;
mod prefix;
mod queue;
mod reasoning;
mod recorded;
mod sockets;
