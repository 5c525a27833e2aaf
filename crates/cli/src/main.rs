//! `striate`: list, show, compare, run and train the landmark convolutional networks.
//!
//! One file a verb; each is a few calls of the library.

#![forbid(unsafe_code)]

mod args;
mod bench;
mod code;
mod convert;
mod diff;
mod failure;
mod inspect;
mod list;
mod nearest;
mod output;
mod predict;
mod progress;
mod run;
mod show;
mod size;
mod source;
mod train;
mod val;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use striate::formats::Limits;

/// The runnable field guide of convolutional networks, from LeNet-5 to ResNet-200.
#[derive(Parser)]
#[command(name = "striate", version, max_term_width = 100, propagate_version = true)]
#[command(arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    /// Prints nothing but results.
    #[arg(long, global = true)]
    quiet: bool,
    /// The most memory that a file may take, as in 500MB [default: 8GiB].
    #[arg(long, global = true, value_name = "SIZE", value_parser = size::parse)]
    max_memory: Option<u64>,
}

#[derive(Subcommand)]
enum Verb {
    List(list::List),
    Show(show::Show),
    Diff(diff::Diff),
    Code(code::Code),
    Convert(convert::Convert),
    Inspect(inspect::Inspect),
    Predict(predict::Predict),
    Run(run::Run),
    Train(Box<train::Train>),
    Val(val::Val),
    Bench(bench::Bench),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(memory) = cli.max_memory {
        Limits { memory }.install();
    }
    let done = match cli.verb {
        Verb::List(verb) => verb.run(),
        Verb::Show(verb) => verb.run(cli.quiet),
        Verb::Diff(verb) => verb.run(cli.quiet),
        Verb::Code(verb) => verb.run(cli.quiet),
        Verb::Convert(verb) => verb.run(cli.quiet),
        Verb::Inspect(verb) => verb.run(),
        Verb::Predict(verb) => verb.run(cli.quiet),
        Verb::Run(verb) => verb.run(cli.quiet),
        Verb::Train(verb) => verb.run(cli.quiet),
        Verb::Val(verb) => verb.run(cli.quiet),
        Verb::Bench(verb) => verb.run(cli.quiet),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
