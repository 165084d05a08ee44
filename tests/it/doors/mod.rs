//! The doors for stock clients, through the whole service.

mod messages;
