//! A network run once, for an emulator that counts its instructions.

use std::hint::black_box;

use striate_exec::{Executable, Isa, Options};
use striate_tensor::Tensor;

use crate::network::Network;

/// Compiles a network for AVX2 and one thread, and runs it once,
/// [`counted`](counted_run).
pub(crate) fn run(name: &str, batch: &str) -> Result<(), String> {
    let batch =
        batch.parse().map_err(|_| format!("found a batch of {batch}, expected a number"))?;
    let network = Network::named(name)?;
    let options = Options { batch, threads: 1, isa: Some(Isa::Avx2), ..Options::default() };
    let mut compiled = network.compile(&options)?;
    let images = network.images(batch);
    counted_run(&mut *compiled, &images)
}

/// What `cargo xtask instructions` counts, by its name: all below this function.
#[inline(never)]
fn counted_run(network: &mut dyn Executable, images: &Tensor) -> Result<(), String> {
    let outputs = network.run(images).map_err(|e| e.to_string())?;
    // Not a tail call: counting ends when this function returns.
    let finite = outputs.logits().data().iter().all(|logit| logit.is_finite());
    if black_box(finite) { Ok(()) } else { Err(String::from("the logits are not finite")) }
}
