//! Measurements: `kernels [FILTER]`.

#![forbid(unsafe_code)]

mod kernels;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["kernels"] => kernels::run(""),
        ["kernels", filter] => kernels::run(filter),
        _ => eprintln!("bench kernels [FILTER]"),
    }
}
