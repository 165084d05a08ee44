//! The doors, through the whole service.

mod matrix;
mod responses;
