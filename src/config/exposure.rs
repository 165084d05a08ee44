//! The clients that can reach the proxy.

/// The clients that can reach the proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exposure {
    /// All clients that can reach the configured address.
    #[default]
    Listener,
    /// This process.
    Local,
    /// The clients of a platform that passes requests on, such as AWS Lambda.
    Platform,
    /// The same in an isolate, whose memory has room for few requests.
    Isolate,
}
