//! HTTP/2 frames as bytes (RFC 9113), with uncompressed header blocks, for requests that no client
//! library sends.

use std::net::SocketAddr;

use tokio::{io::AsyncReadExt as _, time::timeout};

use super::client::{PATIENCE, Raw};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// The initial window of streams in `SETTINGS`.
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;

/// A frame (RFC 9113 §4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()];
    [head.concat().as_slice(), payload].concat()
}

/// A `SETTINGS` frame.
pub(crate) fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<_> =
        settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
    frame(SETTINGS, 0, 0, &payload)
}

/// A `WINDOW_UPDATE` frame. Stream 0 is the connection.
pub(crate) fn window_update(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

/// A `RST_STREAM` frame with the code `CANCEL`.
pub(crate) fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

/// A header field as a literal without indexing (RFC 7541 §6.2.2).
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    [vec![0], string(name), string(value)].concat()
}

/// A string without Huffman coding (RFC 7541 §5.2).
pub(crate) fn string(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut length = text.len();
    if length < 127 {
        bytes.push(u8::try_from(length).unwrap());
    } else {
        bytes.push(127);
        length -= 127;
        while length >= 128 {
            bytes.push(u8::try_from(length % 128 + 128).unwrap());
            length /= 128;
        }
        bytes.push(u8::try_from(length).unwrap());
    }
    bytes.extend(text.as_bytes());
    bytes
}

/// The header block of a request.
pub(crate) fn request(method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "http"), (":authority", "localhost"), (":path", path)];
    pseudo.iter().chain(fields).flat_map(|(name, value)| field(name, value)).collect()
}

/// The frames of a complete `POST` with a JSON body.
pub(crate) fn post(stream: u32, path: &str, body: &str) -> Vec<u8> {
    [open(stream, path), frame(DATA, END_STREAM, stream, body.as_bytes())].concat()
}

/// The frame of the head of such a request.
pub(crate) fn open(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &request("POST", path, &[("content-type", "application/json")]))
}

/// The frames of a `GET`.
pub(crate) fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &request("GET", path, &[]))
}

/// The ids of a client's streams.
pub(crate) fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|number| 2 * number + 1)
}

/// A received frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The error code of a `RST_STREAM` or `GOAWAY`.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

impl Raw {
    /// Connects and sends the preface with these settings.
    pub(crate) async fn connect_http2(address: SocketAddr, own: &[(u16, u32)]) -> Self {
        let mut raw = Self::connect(address).await;
        raw.begin_http2(own).await;
        raw
    }

    /// Sends the preface with these settings, and acknowledges the server's settings.
    pub(crate) async fn begin_http2(&mut self, own: &[(u16, u32)]) {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        self.send([preface, settings(own).as_slice(), &frame(SETTINGS, ACK, 0, &[])].concat()).await;
    }

    /// The next frame. `None` if the server has closed the connection.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        let reading = async {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let [a, b, c, kind, flags, stream @ ..] = head;
            let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap()];
            self.0.read_exact(&mut payload).await.ok()?;
            Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
        };
        timeout(PATIENCE, reading).await.expect("no frame arrives, and the connection does not end")
    }

    /// The next frame of a kind, `None` if the server closes the connection before it. Answers
    /// pings meanwhile.
    pub(crate) async fn next(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame_of_any = self.frame().await?;
            if frame_of_any.kind == kind {
                return Some(frame_of_any);
            }
            if frame_of_any.kind == PING && frame_of_any.flags & ACK == 0 {
                self.send(frame(PING, ACK, 0, &frame_of_any.payload)).await;
            }
        }
    }

    /// The text of the next `DATA` frame that is not empty, such as a problem document.
    pub(crate) async fn text(&mut self) -> String {
        loop {
            let data = self.next(DATA).await.expect("the server closed");
            if !data.payload.is_empty() {
                return String::from_utf8(data.payload).unwrap();
            }
        }
    }

    /// The error code with which the server ends the connection. 0 if it reports none.
    pub(crate) async fn blamed(&mut self) -> u32 {
        let mut blamed = 0;
        while let Some(goaway) = self.next(GOAWAY).await {
            blamed = goaway.code();
        }
        blamed
    }
}
