//! The guard behind the APIs: its calls, its limits, and the responses to callers.

mod limits;
mod order;
mod seam;
mod spending;
mod usage;
