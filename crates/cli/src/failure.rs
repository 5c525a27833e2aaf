//! How the program ends when it does not end well.

use std::error::Error;
use std::process::ExitCode;

/// Why a verb did not do what it was asked; each has an exit code of its own.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It could not: 1.
    Failed(Box<dyn Error>),
    /// It was asked in a way that has no meaning: 2.
    Usage(String),
    /// A comparison found a difference, which is printed: 3.
    Difference,
    /// It was interrupted, the checkpoint is written: 130.
    Interrupted,
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Failed(Box::new(error))
    }
}

impl Failure {
    /// A failure in words.
    pub(crate) fn failed(what: impl Into<String>) -> Failure {
        Failure::Failed(what.into().into())
    }

    /// Prints the error and what caused it, and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Failure::Failed(error) => {
                eprintln!("error: {error}");
                let mut last = error.to_string();
                let mut cause = error.source();
                while let Some(error) = cause {
                    // Some errors repeat their cause in their own words.
                    let text = error.to_string();
                    if !last.contains(&text) {
                        eprintln!("caused by: {text}");
                    }
                    (last, cause) = (text, error.source());
                }
                ExitCode::from(1)
            }
            Failure::Usage(what) => {
                eprintln!("error: {what}");
                ExitCode::from(2)
            }
            Failure::Difference => ExitCode::from(3),
            Failure::Interrupted => ExitCode::from(130),
        }
    }
}
