//! What the tests need to talk to other people's programs: a Python with PyTorch, Keras, ONNX
//! Runtime and the like, and networks with weights to give them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a script of `dev/interop/python` and gives what it printed.
///
/// The interpreter is `$STRIATE_PYTHON`, or the one that `dev/interop/setup` installs.
///
/// # Panics
/// If there is none, or the script fails: such a test is never skipped.
pub fn python(script: &str, arguments: &[&Path]) -> String {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let installed = here.join("../../target/python/bin/python");
    let interpreter = std::env::var_os("STRIATE_PYTHON").map_or(installed, PathBuf::from);
    let output = Command::new(&interpreter)
        .arg(here.join("python").join(script))
        .args(arguments)
        .env("TF_CPP_MIN_LOG_LEVEL", "3")
        .output()
        .unwrap_or_else(|error| {
            panic!("{}: {error}; run dev/interop/setup first", interpreter.display())
        });
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
