//! The real command as a process.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
};

/// A process `holdall serve`. It is killed when dropped.
pub(crate) struct Binary {
    pub(crate) address: SocketAddr,
    child: Child,
    said: BufReader<ChildStderr>,
}

impl Binary {
    /// Starts `holdall serve` on a free port, with these arguments and an otherwise empty
    /// environment.
    pub(crate) fn serve(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_holdall"))
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .env_clear()
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let address = loop {
            let line = line(&mut said).expect("the process did not start");
            if let Some((_, address)) = line.split_once("listens on http://") {
                break address.trim().parse().unwrap();
            }
        };
        Self { address, child, said }
    }

    /// A memory value of `/proc/…/status` in bytes, such as `VmRSS`.
    pub(crate) fn memory(&self, key: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Sends a signal, such as `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
    }

    /// The lines on standard error up to the first one that contains `mark`.
    pub(crate) fn until(&mut self, mark: &str) -> String {
        let mut text = String::new();
        while !text.contains(mark) {
            text += &line(&mut self.said).unwrap_or_else(|| panic!("no `{mark}` in {text}"));
        }
        text
    }

    /// Waits for the end of the process without reading its lines.
    pub(crate) fn ended_unread(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Waits for the end of the process. Returns its status and its last lines.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        let mut text = String::new();
        self.said.read_to_string(&mut text).unwrap();
        (self.child.wait().unwrap(), text)
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn line(said: &mut BufReader<ChildStderr>) -> Option<String> {
    let mut line = String::new();
    (said.read_line(&mut line).unwrap() > 0).then_some(line)
}
