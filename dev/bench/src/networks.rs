//! Whole networks, against the multiply-adds of registers in the same run.

use std::time::{Duration, Instant};

use striate_exec::Options;
use striate_kernels::Threads;
use striate_kernels::blocked::Isa;

use crate::kernels::peak;
use crate::network::Network;

const SLICE: Duration = Duration::from_millis(600);

/// The networks whose names contain the filter: single images and batches, one thread and all.
pub(crate) fn run(filter: &str) -> Result<(), String> {
    let all = Threads::available();
    let mut counts = vec![1, all];
    counts.dedup();
    let peaks: Vec<f64> =
        counts.iter().map(|threads| peak(Isa::best(), &Threads::new(*threads))).collect();
    println!("network            batch threads      median ms  images/s  GFLOP/s  of peak");
    for entry in striate_zoo::all().filter(|entry| entry.name.contains(filter)) {
        let network = Network::of(entry)?;
        for (threads, peak) in counts.iter().zip(&peaks) {
            for batch in [1, 16] {
                let seconds = median(&network, batch, *threads)?;
                let flops = 2.0 * (network.macs() * batch) as f64 / seconds;
                println!(
                    "{:<18} {batch:>5} {threads:>7} {:>14.3} {:>9.1} {:>8.0} {:>7.0}%",
                    entry.name,
                    seconds * 1e3,
                    batch as f64 / seconds,
                    flops / 1e9,
                    100.0 * flops / peak,
                );
            }
        }
    }
    Ok(())
}

/// Seconds of a run.
fn median(network: &Network, batch: usize, threads: usize) -> Result<f64, String> {
    let mut compiled = network.compile(&Options { batch, threads, ..Options::default() })?;
    let images = network.images(batch);
    let mut times = Vec::new();
    let begin = Instant::now();
    while times.len() < 4 || begin.elapsed() < SLICE {
        let start = Instant::now();
        compiled.run(&images).map_err(|e| e.to_string())?;
        times.push(start.elapsed().as_secs_f64());
    }
    // The first are warm-up.
    times.drain(..times.len() / 4);
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
