//! Standard error of a server: a bounded queue of lines, and a thread that writes them.
//!
//! Writing to a full pipe waits for its reader. So no other thread of a server writes to standard
//! error: a reader that stops, such as a container's log driver, must not stop the server. Lines
//! that find the queue full are dropped. Their number is reported once lines flow again.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Duration,
};

/// The queue of this process, `None` if there is no thread for it.
static QUEUE: OnceLock<Option<Arc<LineQueue>>> = OnceLock::new();

/// Writes a line, which has its line end. Never waits for the reader.
pub(super) fn write(line: Vec<u8>) {
    match QUEUE.get_or_init(|| LineQueue::start(io::stderr())) {
        Some(queue) => queue.push(line),
        None => write_line(&mut io::stderr(), &line),
    }
}

/// Waits until all lines are written, for at most `limit`.
pub(super) fn flush(limit: Duration) {
    if let Some(Some(queue)) = QUEUE.get() {
        queue.flush(limit);
    }
}

/// Lines that wait for the thread that writes them.
struct LineQueue {
    state: Mutex<State>,
    /// Signals each change of the state.
    changed: Condvar,
    /// The most bytes that wait, with [`LINE_COST`] for each line.
    most_bytes: usize,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The number of lines that were dropped and are not reported yet.
    dropped: u64,
    is_writing: bool,
}

impl LineQueue {
    /// Starts the thread. `None` if the system has none.
    fn start(out: impl Write + Send + 'static) -> Option<Arc<Self>> {
        let queue = Arc::new(Self::new(QUEUE_BYTES));
        let writer = Arc::clone(&queue);
        thread::Builder::new().name("log".to_owned()).spawn(move || writer.run(out)).ok().map(|_| queue)
    }

    fn new(most_bytes: usize) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), most_bytes }
    }

    fn push(&self, line: Vec<u8>) {
        let mut state = self.lock();
        let lines: Vec<_> = state.report().into_iter().chain([line]).collect();
        let bytes = lines.iter().map(|line| cost(line)).sum::<usize>().saturating_add(state.bytes);
        if bytes > self.most_bytes {
            state.dropped = state.dropped.saturating_add(1);
        } else {
            state.dropped = 0;
            lines.into_iter().for_each(|line| state.add(line));
        }
        drop(state);
        self.changed.notify_all();
    }

    fn flush(&self, limit: Duration) {
        let is_busy = |state: &mut State| state.is_writing || state.dropped > 0 || !state.lines.is_empty();
        let flushed = self.changed.wait_timeout_while(self.lock(), limit, is_busy);
        drop(flushed);
    }

    /// Writes lines as they come, without end.
    fn run(&self, mut out: impl Write) {
        loop {
            let line = self.next_line();
            write_line(&mut out, &line);
        }
    }

    /// Waits for the next line.
    fn next_line(&self) -> Vec<u8> {
        let mut state = self.lock();
        state.is_writing = false;
        self.changed.notify_all();
        loop {
            if let Some(report) = state.report().filter(|_| state.lines.is_empty()) {
                state.dropped = 0;
                state.add(report);
            }
            if let Some(line) = state.lines.pop_front() {
                state.bytes = state.bytes.saturating_sub(cost(&line));
                state.is_writing = true;
                self.changed.notify_all();
                return line;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until the thread writes the last line.
    #[cfg(test)]
    fn flush_to_writer(&self) {
        let is_waiting = |state: &mut State| !(state.is_writing && state.lines.is_empty());
        drop(self.changed.wait_while(self.lock(), is_waiting));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, line: Vec<u8>) {
        self.bytes = self.bytes.saturating_add(cost(&line));
        self.lines.push_back(line);
    }

    /// A notice with the number of dropped lines. `None` if there are none.
    fn report(&self) -> Option<Vec<u8>> {
        let lines = self.dropped;
        let report = || format!("{{\"notice\":\"log_lines_dropped\",\"detail\":\"{lines}\"}}\n").into_bytes();
        (lines > 0).then(report)
    }
}

/// The memory that a waiting line takes.
fn cost(line: &[u8]) -> usize {
    line.len().saturating_add(LINE_COST)
}

/// Writes a line in as few writes as possible, so that the lines of several processes do not mix. A
/// closed standard error loses it.
fn write_line(out: &mut impl Write, mut line: &[u8]) {
    while !line.is_empty() {
        match out.write(line) {
            Ok(0) => return,
            Ok(written) => line = line.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Another program has made the pipe non-blocking, and it is full.
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(FULL_PAUSE),
            Err(_) => return,
        }
    }
}

/// The most bytes of waiting lines.
const QUEUE_BYTES: usize = 1 << 20;
/// The memory of a line in the queue besides its text.
const LINE_COST: usize = 64;
/// The pause before another try to write to a full pipe that does not wait by itself.
const FULL_PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver, SyncSender};

    use super::*;

    /// A reader that takes a write only when the test asks for it.
    struct Reader(SyncSender<Vec<u8>>);

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn queue(most_bytes: usize) -> (Arc<LineQueue>, Receiver<Vec<u8>>) {
        let (sender, written) = mpsc::sync_channel(0);
        let queue = Arc::new(LineQueue::new(most_bytes));
        let writer = Arc::clone(&queue);
        thread::spawn(move || writer.run(Reader(sender)));
        (queue, written)
    }

    fn next(written: &Receiver<Vec<u8>>) -> String {
        String::from_utf8(written.recv().unwrap()).unwrap()
    }

    #[test]
    fn lines_that_find_the_queue_full_are_dropped_and_counted() {
        // Room for two lines while a third is being written.
        let (queue, written) = queue(2 * (LINE_COST + 2));
        let push = |line: &str| queue.push(format!("{line}\n").into_bytes());
        push("a");
        queue.flush_to_writer();
        ["b", "c", "d", "e"].into_iter().for_each(push);
        assert_eq!(next(&written), "a\n");
        assert_eq!((next(&written), next(&written)), ("b\n".to_owned(), "c\n".to_owned()));
        assert_eq!(next(&written), "{\"notice\":\"log_lines_dropped\",\"detail\":\"2\"}\n");
        push("f");
        assert_eq!(next(&written), "f\n");
        queue.flush(Duration::from_secs(60));
        assert!(queue.lock().lines.is_empty() && queue.lock().bytes == 0);
    }

    #[test]
    fn the_report_comes_between_the_lines_before_and_after_the_gap() {
        // Room for four lines while a fifth is being written, or for two and a report.
        let (queue, written) = queue(4 * (LINE_COST + 2));
        let push = |line: &str| queue.push(format!("{line}\n").into_bytes());
        push("a");
        queue.flush_to_writer();
        ["b", "c", "d", "e", "f", "g"].into_iter().for_each(push);
        assert_eq!(next(&written), "a\n");
        assert_eq!([(); 3].map(|()| next(&written)), ["b\n", "c\n", "d\n"]);
        push("h");
        let rest = [(); 3].map(|()| next(&written));
        assert_eq!(rest, ["e\n", "{\"notice\":\"log_lines_dropped\",\"detail\":\"2\"}\n", "h\n"]);
    }

    #[test]
    fn a_flush_gives_up_at_its_limit() {
        let (queue, written) = queue(1 << 10);
        queue.push(b"a\n".to_vec());
        queue.flush(Duration::from_millis(1));
        assert!(queue.lock().is_writing || !queue.lock().lines.is_empty());
        assert_eq!(next(&written), "a\n");
    }

    /// A stream that takes one byte, is full, is interrupted, and then fails.
    struct Fickle(Vec<u8>, Vec<ErrorKind>);

    impl Write for Fickle {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(error) = self.1.pop() {
                return Err(error.into());
            }
            self.0.extend(bytes.first());
            self.1 = vec![ErrorKind::Interrupted, ErrorKind::WouldBlock];
            Ok(1)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_written_completely_unless_the_stream_fails() {
        let mut out = Fickle(Vec::new(), Vec::new());
        write_line(&mut out, b"abc\n");
        assert_eq!(out.0, b"abc\n");
        out.1 = vec![ErrorKind::BrokenPipe];
        write_line(&mut out, b"abc\n");
        assert_eq!(out.0, b"abc\n");
    }
}
