//! Writes the log in a thread of its own, so that a reader that is slow or paused holds up nobody who logs.
use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

/// The thread that writes the log. When it is dropped, what waits is written within a second, or lost.
#[derive(Debug)]
pub(crate) struct LogWriter(Arc<Lines>);

/// The lines that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Lines {
    waiting: Mutex<Waiting>,
    /// Notified when lines are added, and when all are written.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// The lines that found no room since the thread last took some.
    dropped: u64,
    /// Whether the thread writes what it has taken.
    is_writing: bool,
}

/// The most bytes that wait. Lines beyond them are dropped.
const LIMIT: usize = 1 << 20;

/// The memory that is kept for the next lines.
const KEPT: usize = 64 * 1024;

/// How long the last lines may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// The log belongs to the process, and so does its count.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// How many lines were dropped since the start of the process, because the log's reader is too slow.
pub(crate) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

impl LogWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system starts no thread.
    pub(super) fn start(output: impl Write + Send + 'static) -> io::Result<Self> {
        let lines = Arc::new(Lines::default());
        let taken = lines.clone();
        thread::Builder::new().name("log".into()).spawn(move || taken.write_to(output))?;
        Ok(Self(lines))
    }

    /// Where lines are added.
    pub(super) fn lines(&self) -> Arc<Lines> {
        self.0.clone()
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        let deadline = Instant::now() + FAREWELL;
        let mut waiting = self.0.waiting.lock();
        while waiting.is_writing || !waiting.bytes.is_empty() {
            if self.0.changed.wait_until(&mut waiting, deadline).timed_out() {
                return;
            }
        }
    }
}

impl Lines {
    fn write_to(&self, mut output: impl Write) {
        let mut bytes = Vec::new();
        loop {
            let dropped = {
                let mut waiting = self.waiting.lock();
                waiting.is_writing = false;
                self.changed.notify_all();
                while waiting.bytes.is_empty() {
                    self.changed.wait(&mut waiting);
                }
                waiting.is_writing = true;
                std::mem::swap(&mut bytes, &mut waiting.bytes);
                std::mem::take(&mut waiting.dropped)
            };
            // If standard error is closed, there is nobody to tell.
            let _closed = output.write_all(&bytes);
            bytes.clear();
            bytes.shrink_to(KEPT);
            if dropped > 0 {
                tracing::warn!(lines = dropped, "dropped lines of the log, because its reader is too slow");
            }
        }
    }
}

/// Adds one line, as the subscriber writes it. It never waits for the reader.
impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.waiting.lock();
        if waiting.bytes.len() + line.len() > LIMIT {
            waiting.dropped += 1;
            DROPPED.fetch_add(1, Ordering::Relaxed);
        } else {
            waiting.bytes.extend_from_slice(line);
            self.changed.notify_all();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// An output whose reader takes one write at a time.
    struct Output(mpsc::SyncSender<Vec<u8>>);

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_paused_reader_holds_up_nobody_and_lines_beyond_the_limit_are_dropped_and_counted() {
        const LINE: [u8; 1024] = [b'x'; 1024];
        let (sender, reader) = mpsc::sync_channel(0);
        let writer = LogWriter::start(Output(sender)).unwrap();
        let (lines, before) = (writer.lines(), dropped());
        let written = 4 * LIMIT / LINE.len();
        for _ in 0..written {
            (&*lines).write_all(&LINE).unwrap();
        }
        let dropped = usize::try_from(dropped() - before).unwrap();
        // The thread may have taken what fits once before it waits for the reader.
        assert!((2 * LIMIT / LINE.len()..written).contains(&dropped), "{dropped} of {written} lines were dropped");
        let mut received = 0;
        while received < (written - dropped) * LINE.len() {
            received += reader.recv_timeout(Duration::from_secs(10)).expect("what was not dropped is written").len();
        }
        drop(writer);
    }

    /// An output that keeps what it is given, and takes nothing while it is locked.
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_waits_is_written_before_the_writer_is_gone() {
        let kept = Arc::<Mutex<Vec<u8>>>::default();
        let writer = LogWriter::start(Kept(kept.clone())).unwrap();
        let locked = kept.lock();
        for _ in 0..100 {
            (&*writer.lines()).write_all(b"a line\n").unwrap();
        }
        drop(locked);
        drop(writer);
        assert_eq!(kept.lock().len(), 700);
    }

    #[test]
    fn a_paused_reader_holds_up_the_end_for_no_more_than_a_second() {
        let (sender, _reader) = mpsc::sync_channel(0);
        let writer = LogWriter::start(Output(sender)).unwrap();
        (&*writer.lines()).write_all(b"a line\n").unwrap();
        while !writer.0.waiting.lock().is_writing {
            thread::yield_now();
        }
        let begun = Instant::now();
        drop(writer);
        assert!((FAREWELL..5 * FAREWELL).contains(&begun.elapsed()), "it took {:?}", begun.elapsed());
    }
}
