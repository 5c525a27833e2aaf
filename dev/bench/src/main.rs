//! Measurements: `kernels [FILTER]`, `networks [FILTER]`, `callers NETWORK`,
//! `instructions NETWORK BATCH`.

#![forbid(unsafe_code)]

mod callers;
mod instructions;
mod kernels;
mod network;
mod networks;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["kernels"] => kernels::run(""),
        ["kernels", filter] => kernels::run(filter),
        ["networks"] => networks::run(""),
        ["networks", filter] => networks::run(filter),
        ["callers", network] => callers::run(network),
        ["instructions", network, batch] => instructions::run(network, batch),
        _ => Err(String::from(
            "usage: bench kernels [FILTER] | networks [FILTER] | callers NETWORK \
             | instructions NETWORK BATCH",
        )),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
