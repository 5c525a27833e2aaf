//! Chores of the repository: `cargo xtask floors`, `cargo xtask instructions [--bless]`.

mod floors;
mod instructions;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["floors"] => floors::check(),
        ["instructions"] => instructions::check(false),
        ["instructions", "--bless"] => instructions::check(true),
        _ => Err(String::from("usage: cargo xtask floors | instructions [--bless]")),
    };
    match outcome {
        Ok(message) => {
            println!("{message}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
