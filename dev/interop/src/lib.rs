//! What the tests need to talk to other people's programs: a Python with PyTorch, Keras, ONNX
//! Runtime and the like, and networks with weights to give them.

mod networks;

pub use networks::{chosen, params, same_bits, small};

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// Runs a script of `dev/interop/python` and gives what it printed.
///
/// # Panics
/// If there is no Python, or the script fails: such a test is never skipped.
pub fn python(script: &str, arguments: &[&Path]) -> String {
    let output = command(script).args(arguments).output().unwrap_or_else(|error| missing(&error));
    assert!(
        output.status.success(),
        "{script}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The largest difference of two results, as a share of the largest value of the first.
///
/// # Panics
/// If they are not equally long.
pub fn error(expected: &[f32], found: &[f32]) -> f64 {
    assert_eq!(expected.len(), found.len(), "as many values");
    let largest = expected.iter().fold(0.0f64, |largest, x| largest.max(f64::from(x.abs())));
    let apart = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).abs();
    // `max` would swallow a NaN.
    let worst = expected
        .iter()
        .zip(found)
        .map(apart)
        .fold(0.0, |worst, apart| if apart > worst || apart.is_nan() { apart } else { worst });
    worst / largest.max(f64::MIN_POSITIVE)
}

/// A script that answers a line with a line, so that what it imports is imported once.
#[derive(Debug)]
pub struct Script {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Script {
    /// Starts a script of `dev/interop/python`.
    ///
    /// # Panics
    /// If there is no Python.
    pub fn start(script: &str) -> Script {
        let mut command = command(script);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| missing(&error));
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        Script { child, answers }
    }

    /// What it answers.
    ///
    /// # Panics
    /// If it has ended.
    pub fn ask(&mut self, request: &str) -> String {
        let mut answer = String::new();
        let asked = writeln!(self.child.stdin.as_mut().expect("a pipe"), "{request}");
        let read = asked.and_then(|()| self.answers.read_line(&mut answer));
        assert!(read.is_ok_and(|len| len > 0), "the script ended at {request}");
        answer.trim_end().to_owned()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The interpreter is `$STRIATE_PYTHON`, or the one that `dev/interop/setup` installs.
fn interpreter() -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/python/bin/python");
    std::env::var_os("STRIATE_PYTHON").map_or(installed, PathBuf::from)
}

fn command(script: &str) -> Command {
    let mut command = Command::new(interpreter());
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script));
    command.env("TF_CPP_MIN_LOG_LEVEL", "3");
    command
}

fn missing(error: &std::io::Error) -> ! {
    panic!("{}: {error}; run dev/interop/setup first", interpreter().display())
}
