//! `holdall chat` on a pseudo-terminal, as a person sees and types.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::{Child, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};

use super::home::{BINARY, Home};

/// A command on a terminal of its own, and everything that the terminal showed.
struct Terminal {
    keyboard: File,
    child: Child,
    screen: Arc<(Mutex<String>, Condvar)>,
    /// The length of the part of `screen` that earlier waits have passed.
    seen: usize,
}

impl Terminal {
    fn chat(home: &Home, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::run(home, &[&["chat"], arguments].concat(), variables)
    }

    fn run(home: &Home, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap();
        let open = || -> OwnedFd { rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap() };
        // In a session of its own, the command gets a signal for Ctrl-C on this terminal.
        let mut command = home.program("setsid", &[&["-c", BINARY], arguments].concat());
        command.env("TERM", "xterm").envs(variables.iter().copied());
        let child = command.stdin(Stdio::from(open())).stdout(Stdio::from(open())).stderr(Stdio::from(open()));
        let child = child.spawn().unwrap();
        drop(command);
        let keyboard = File::from(keyboard);
        let screen = Arc::new((Mutex::new(String::new()), Condvar::new()));
        let (mut output, shown) = (keyboard.try_clone().unwrap(), Arc::clone(&screen));
        thread::spawn(move || {
            let (mut buffer, mut pending) = ([0; 4_096], Vec::new());
            // After the command closes its side, reading fails with EIO.
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                pending.extend_from_slice(&buffer[..length]);
                let whole = pending.utf8_chunks().next().map_or(0, |chunk| chunk.valid().len());
                let text = String::from_utf8(pending.drain(..whole).collect()).unwrap();
                shown.0.lock().unwrap().push_str(&text);
                shown.1.notify_all();
            }
        });
        Self { keyboard, child, screen, seen: 0 }
    }

    /// Types without waiting for a prompt.
    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for the prompt, then types. Returns the text before the prompt. Text that is typed
    /// before the prompt can get lost, because the terminal changes its mode.
    #[track_caller]
    fn at_prompt(&mut self, keys: &str) -> String {
        let before = self.wait("> ");
        self.press(keys);
        before
    }

    /// Waits for the prompt, then enters a line.
    #[track_caller]
    fn line(&mut self, text: &str) -> String {
        self.at_prompt(&format!("{text}\r"))
    }

    /// Waits until the terminal shows `text` after the part that earlier waits have passed. Returns
    /// the text from there to the end of `text`.
    #[track_caller]
    fn wait(&mut self, text: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut shown = self.screen.0.lock().unwrap();
        loop {
            if let Some(at) = shown[self.seen..].find(text) {
                let end = self.seen + at + text.len();
                let passed = shown[self.seen..end].to_owned();
                self.seen = end;
                return passed;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "`{text}` does not come; the screen shows:\n{}", *shown);
            shown = self.screen.1.wait_timeout(shown, left).unwrap().0;
        }
    }

    /// Leaves with Ctrl-D. The exit code must be 0.
    #[track_caller]
    fn leave(mut self) {
        self.at_prompt(CTRL_D);
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The command is still running only if a test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const CTRL_C: &str = "\u{3}";
const CTRL_D: &str = "\u{4}";

#[test]
fn a_person_gets_a_greeting_and_hints() {
    let home = Home::new();
    let mut chat = Terminal::chat(&home, &["-t", "a"], &[]);
    chat.wait("Chatting with the built-in model (no network, simple answers).\r\n");
    chat.wait("New chat in a.\r\n");
    chat.wait("Type /help for the commands. Press Ctrl-D to leave.");
    chat.line("Repeat one and two");
    chat.wait("one and two\r\n\r\n");
    chat.line("/nope");
    chat.wait("\u{1b}[1;31merror:\u{1b}[0m unknown command /nope\r\n");
    chat.wait("\u{1b}[1mhint:\u{1b}[0m /help lists the commands");
    chat.at_prompt(CTRL_C);
    chat.wait("Press Ctrl-D or type /quit to leave.");
    chat.leave();

    let mut chat = Terminal::chat(&home, &["-t", "a"], &[]);
    chat.wait("Resuming the chat in a after 1 turn. It expires 20");
    chat.line("/undo");
    chat.wait("there is nothing to undo");
    chat.line("/quit");
    chat.wait("The chat is saved in a.");
    assert_eq!(chat.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reply_streams_and_ctrl_c_stops_it() {
    let home = Home::new();
    let mut chat = Terminal::chat(&home, &["-t", "a", "--builtin-pace-ms", "250"], &[]);
    chat.line("Repeat begun");
    // The spinner appears before the first word and disappears with it.
    let shown = chat.wait("begun\r\n\r\n");
    let (_, spun) = shown.split_once("\r⠋ ").unwrap();
    assert!(spun.ends_with("\r\u{1b}[Kbegun\r\n\r\n"), "{spun:?}");
    chat.line("Count to 1000");
    chat.wait("1 2 3");
    chat.press(CTRL_C);
    let rest = chat.wait("stopped; the chat is unchanged");
    assert!(!rest.contains("20"), "{rest:?}");
    chat.line("How many turns do you see?");
    chat.wait("turn 2.\r\n");
    chat.line("/undo");
    chat.wait("undone; the chat now has 1 turn");
    chat.leave();
    home.run(&["token", "history", "a"]).ok("user: Repeat begun\nassistant: begun\n");
}

#[test]
fn pasted_lines_are_one_message() {
    let home = Home::new();
    let mut chat = Terminal::chat(&home, &["-t", "a"], &[]);
    chat.line("\u{1b}[200~Repeat one\ntwo\u{1b}[201~");
    chat.wait("two\r\n\r\n");
    chat.leave();
    home.run(&["token", "history", "a"]).ok("user: Repeat one\n  two\nassistant: one\n  two\n");
}

#[test]
fn no_color_disables_colours() {
    let home = Home::new();
    for (variable, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let mut chat = Terminal::chat(&home, &["--new"], &[(variable, value)]);
        let mut shown = chat.line("Repeat one");
        shown += &chat.wait("one\r\n\r\n");
        shown += &chat.line("/nope");
        shown += &chat.wait("error: unknown command /nope\r\nhint: ");
        shown += &chat.line("/history");
        shown += &chat.wait("assistant: one\r\n");
        chat.leave();
        // Colours end in `m`. The line editor moves the cursor with other letters.
        let painted = shown.split("\u{1b}[").skip(1).any(|rest| {
            rest.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == ';').starts_with('m')
        });
        assert!(!painted, "{variable}: {shown:?}");
    }
}

#[test]
fn control_characters_are_not_sent_to_the_terminal() {
    let home = Home::new();
    let said = "\u{1b}[2J\u{7}\u{202e}\u{9d}end";
    home.feed(&["send", "-t", "a", "-"], &format!("Repeat {said}\n")).ok(&format!("{said}\n"));
    let shown = "\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}end\r\n";
    let mut chat = Terminal::chat(&home, &["-t", "a"], &[]);
    chat.line("/history");
    chat.wait(shown);
    chat.leave();
    for arguments in [
        &["token", "history", "a"][..],
        &["token", "export", "a"],
        &["send", "-t", "a", "Repeat it: \u{1b}[2J\u{7}\u{202e}\u{9d}end"],
    ] {
        let mut terminal = Terminal::run(&home, arguments, &[]);
        terminal.wait(shown);
        assert_eq!(terminal.child.wait().unwrap().code(), Some(0));
    }
    for arguments in [&["token", "history", "--json", "a"][..], &["token", "export", "--json", "a"]] {
        let mut terminal = Terminal::run(&home, arguments, &[]);
        // JSON escapes the characters of ASCII; the others are replaced.
        terminal.wait("\\u001b[2J\\u0007\u{fffd}\u{fffd}end");
    }
}
