//! The doors for stock SDKs, each through the whole service.

mod chat_completions;
