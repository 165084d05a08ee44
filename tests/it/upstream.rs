//! Model services over real sockets. Refused, interrupted, malformed and endless replies give the
//! right code within limits, and the client's token stays valid.

mod bounds;
mod brought_state;
mod care;
mod cuts;
mod failover;
mod faults;
mod prefix;
mod queue;
mod reasoning;
mod recorded;
mod refused_members;
mod service_state;
mod sockets;
mod words;
