//! One caller of a network against several at once, who share its weights and threads.

use std::time::{Duration, Instant};

use striate_exec::{Executable, Options};
use striate_tensor::Tensor;

use crate::network::Network;

const CALLERS: usize = 4;
const ROUNDS: usize = 7;
const SLICE: Duration = Duration::from_millis(400);

/// Images a second of one caller and of four, in turns; the medians.
pub(crate) fn run(name: &str) -> Result<(), String> {
    let network = Network::named(name)?;
    let images = network.images(1);
    let first = network.compile(&Options::default())?;
    let another = |_| first.another().map_err(|e| e.to_string());
    let mut callers = (0..CALLERS).map(another).collect::<Result<Vec<_>, String>>()?;
    let (mut alone, mut together) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(rate(&mut callers[..1], &images)?);
        together.push(rate(&mut callers, &images)?);
    }
    let [alone, together] = [alone, together].map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates[ROUNDS / 2]
    });
    println!(
        "{name}: {alone:.1} images/s of one caller, {together:.1} of {CALLERS}: {:.2}",
        together / alone
    );
    Ok(())
}

/// Images a second of all callers.
fn rate(callers: &mut [Box<dyn Executable>], images: &Tensor) -> Result<f64, String> {
    let start = Instant::now();
    let call = |network: &mut Box<dyn Executable>| {
        let mut runs = 0;
        while start.elapsed() < SLICE {
            network.run(images).map_err(|e| e.to_string())?;
            runs += 1;
        }
        Ok(runs)
    };
    let runs: Result<Vec<usize>, String> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            callers.iter_mut().map(|caller| scope.spawn(|| call(caller))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a caller returns")).collect()
    });
    Ok(runs?.iter().sum::<usize>() as f64 / start.elapsed().as_secs_f64())
}
