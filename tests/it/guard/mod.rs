//! The guard at the doors: what it is asked and told, what callers are held to, and what they are told of it.

mod limits;
mod seam;
mod usage;
