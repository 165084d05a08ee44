//! What README.md says: its commands are run as they stand, and its links lead somewhere.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

const README: &str = include_str!("../../README.md");

#[test]
fn the_two_turns_over_http_go_as_told() {
    if Command::new("curl").arg("--version").output().is_err() {
        println!("skipped: there is no curl");
        return;
    }
    let server = Server::start();
    let blocks = blocks_after("<!-- tests/it/readme.rs runs the next two blocks -->");
    assert_eq!(blocks[0].trim(), "holdall serve --dev &");
    let script = blocks[1].replace("127.0.0.1:8787", &server.address);
    let output = Command::new("bash").args(["-euo", "pipefail", "-c", &script]).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(shown.starts_with("{\"reply\":\"Your name is Ada.\""), "{shown}");
    assert!(shown.contains("\"code\":\"token_invalid\""), "{shown}");
    assert!(shown.contains("event: delta\n") && shown.contains("event: done\n"), "{shown}");
    assert!(shown.contains("{\"items\":[{\"t\":\"msg\",\"role\":\"user\",\"parts\":[{\"text\":\"My name is Ada.\"}]}"));
}

#[test]
fn links_and_commands_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let targets = README.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for target in targets.filter(|target| !target.starts_with("http")) {
        assert!(root.join(target).exists(), "README.md links to {target}");
    }
    assert!(README.contains("\ntests/run ") && root.join("tests/run").exists());
}

/// The `sh` blocks that follow a marker.
fn blocks_after(marker: &str) -> Vec<&'static str> {
    let (_, rest) = README.split_once(marker).unwrap();
    rest.split("```sh\n").skip(1).filter_map(|block| block.split("```").next()).collect()
}

struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_holdall"))
            .args(["serve", "--dev", "--listen", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = lines.find_map(|line| Some(line.unwrap().split_once("http://")?.1.to_owned())).unwrap();
        // The pipe must stay open and read, or the server's log would fill it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
