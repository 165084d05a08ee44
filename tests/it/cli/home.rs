//! A home folder for a test, the commands that run in it, and model services that fail.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
};

/// An empty home folder. Commands run in it and store their data in it.
pub(crate) struct Home(tempfile::TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The path of a file in the data folder.
    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.path("data/holdall").join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// The names in the folder, without the data folder.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name != "data");
        names.sort();
        names
    }

    /// A command for `program`, without the environment of this process.
    pub(crate) fn program(&self, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().current_dir(self.0.path());
        command
            .env("HOME", self.0.path())
            .env("XDG_DATA_HOME", self.path("data"))
            .env("PATH", std::env::var_os("PATH").unwrap());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn holdall(&self, arguments: &[&str]) -> Command {
        self.program(BINARY, arguments)
    }

    /// Runs `holdall` without input.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.holdall(arguments).output().unwrap(), self.0.path())
    }

    /// Runs `holdall` with this input.
    pub(crate) fn feed(&self, arguments: &[&str], input: &str) -> Ran {
        self.feed_to(self.holdall(arguments), input)
    }

    pub(crate) fn feed_to(&self, mut command: Command, input: &str) -> Ran {
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        // Written in another thread, so that neither process blocks the other. The command may stop
        // reading early.
        let feeder = thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        let output = child.wait_with_output().unwrap();
        feeder.join().unwrap();
        Ran::of(output, self.0.path())
    }
}

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_holdall");

/// The result of a command. In its output, `HOME` replaces the path of the home folder.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(output: Output, home: &Path) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap().replace(home.to_str().unwrap(), "HOME");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Compares the exit code and the complete output. `…` matches any text within a line.
    #[track_caller]
    pub(crate) fn expect(self, code: i32, out: &str, err: &str) -> Self {
        let fits = self.code == Some(code) && like(out, &self.out) && like(err, &self.err);
        assert!(
            fits,
            "exit {:?}\n--- stdout\n{}--- stderr\n{}--- wanted {code}\n{out}---\n{err}",
            self.code, self.out, self.err
        );
        self
    }

    /// The same for exit code 0 and an empty standard error.
    #[track_caller]
    pub(crate) fn ok(self, out: &str) -> Self {
        self.expect(0, out, "")
    }

    /// The same for exit code 1 and an empty standard output.
    #[track_caller]
    pub(crate) fn fails(self, err: &str) -> Self {
        self.expect(1, "", err)
    }
}

/// Returns true if `text` matches `pattern`, line by line. `…` matches any text within a line.
pub(crate) fn like(pattern: &str, text: &str) -> bool {
    let (mut patterns, mut lines) = (pattern.split('\n'), text.split('\n'));
    loop {
        match (patterns.next(), lines.next()) {
            (None, None) => return true,
            (Some(pattern), Some(line)) if like_line(pattern, line) => {}
            _ => return false,
        }
    }
}

fn like_line(pattern: &str, line: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('…') else { return pattern == line };
    let Some(line) = line.strip_prefix(start) else { return false };
    line.char_indices().map(|(at, _)| at).chain([line.len()]).any(|at| like_line(rest, &line[at..]))
}

/// A Chat Completions service that sends `words` and then closes the connection in the middle of
/// the reply. Returns its base URL.
pub(crate) fn cutting_upstream(words: &'static str) -> String {
    upstream(move |mut client| {
        let event = format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{words}\"}}}}]}}\n\n");
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        let _ = client.write_all(format!("{head}{event}").as_bytes());
    })
}

/// A Chat Completions service that refuses every request. Returns its base URL.
pub(crate) fn refusing_upstream() -> String {
    upstream(|mut client| {
        let body = r#"{"error":{"message":"no such model","type":"invalid_request_error"}}"#;
        let head =
            format!("HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: {}", body.len());
        let _ = client.write_all(format!("{head}\r\nconnection: close\r\n\r\n{body}").as_bytes());
    })
}

/// A server that answers every request with an error whose text attacks a terminal.
pub(crate) fn hostile_server() -> String {
    upstream(|mut client| {
        let detail = r"no \u001b]0;owned\u0007\u009b2J \u202etxt\nhint: run this\u007f";
        let body = format!(r#"{{"code":"overloaded","detail":"{detail}","retry":"never","request_id":"req_1"}}"#);
        let head = format!("HTTP/1.1 503 Busy\r\ncontent-type: application/json\r\ncontent-length: {}", body.len());
        let _ = client.write_all(format!("{head}\r\nconnection: close\r\n\r\n{body}").as_bytes());
    })
}

/// A base URL without a service.
pub(crate) fn no_upstream() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/v1", listener.local_addr().unwrap())
}

fn upstream(answer: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    // The thread ends with the process.
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let mut reader = BufReader::new(client.try_clone().unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap() <= 2 {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            reader.read_exact(&mut vec![0; length]).unwrap();
            answer(client);
        }
    });
    url
}

/// Arguments, followed by the flags for an upstream of kind `openai` at `url`.
pub(crate) fn at<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [more, &["--upstream", "openai", "--upstream-url", url, "--model", "m"]].concat()
}
