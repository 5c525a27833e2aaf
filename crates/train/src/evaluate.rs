use striate_data::{Crops, Dataset, Loader, Sample, crops};
use striate_exec::Executable;
use striate_graph::InputSpec;
use striate_tensor::{Tensor, top};

use crate::{LossKind, Score, TrainError};

/// How a compiled network tells the pictures of a data set apart. Ties go to the lower class.
///
/// # Errors
/// [`TrainError`] if a picture cannot be read or does not fit the network.
pub fn evaluate(
    network: &mut dyn Executable,
    pictures: &Loader,
    loss: LossKind,
) -> Result<Score, TrainError> {
    let score = evaluate_until(network, pictures, loss, &mut || false)?;
    Ok(score.expect("nobody interrupts"))
}

/// The same, unless it is interrupted: asked after each batch.
pub(crate) fn evaluate_until(
    network: &mut dyn Executable,
    pictures: &Loader,
    loss: LossKind,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<Option<Score>, TrainError> {
    let mut score = Score::default();
    let mut gradient = Vec::new();
    for batch in pictures.epoch(0, 0) {
        let batch = batch?;
        let outputs = network.run(&batch.images)?;
        let logits = outputs.logits();
        let classes = logits.data().len() / batch.labels.len().max(1);
        if let Some(label) = batch.labels.iter().find(|&&label| label as usize >= classes) {
            return Err(TrainError::Batch(format!(
                "found the label {label}, expected one below {classes}"
            )));
        }
        gradient.resize(logits.data().len(), 0.0);
        score.add(loss.score(logits.data(), &batch.labels, 0.0, &mut gradient));
        if interrupted() {
            return Ok(None);
        }
    }
    Ok(Some(score))
}

/// The same over several pieces of each picture, whose probabilities are averaged. `batch` is how
/// many pieces the compiled network takes at a time.
///
/// # Errors
/// [`TrainError`] if a picture cannot be read or does not fit the network.
pub fn evaluate_crops(
    network: &mut dyn Executable,
    pictures: &dyn Dataset,
    spec: &InputSpec,
    which: Crops,
    batch: usize,
) -> Result<Score, TrainError> {
    let mut score = Score::default();
    for index in 0..pictures.len() {
        let Sample { picture, label } = pictures.sample(index)?;
        let pieces = crops(&picture, spec, which)?;
        let volume = pieces.data().len() / pieces.shape()[0];
        let mut mean: Vec<f64> = Vec::new();
        for part in pieces.data().chunks(batch.max(1) * volume) {
            let mut shape = pieces.shape().to_vec();
            shape[0] = part.len() / volume;
            let part = Tensor::new(&shape, part.to_vec()).expect("a part of a whole batch");
            for row in network.run(&part)?.softmax().rows() {
                mean.resize(row.len(), 0.0);
                mean.iter_mut().zip(row).for_each(|(mean, p)| *mean += f64::from(*p));
            }
        }
        let count = which.count() as f64;
        let probabilities: Vec<f32> = mean.iter().map(|sum| (sum / count) as f32).collect();
        let label = label as usize;
        let Some(p) = probabilities.get(label) else {
            return Err(TrainError::Batch(format!(
                "found the label {label}, expected one below {}",
                probabilities.len()
            )));
        };
        let best = top(&probabilities, 5);
        score.add(Score {
            // The loss of the network itself has no meaning for averaged probabilities; one that
            // is rounded to zero is not infinitely wrong.
            loss: -f64::from(p.max(f32::MIN_POSITIVE)).ln(),
            top1: u64::from(best.first() == Some(&label)),
            top5: u64::from(best.contains(&label)),
            seen: 1,
        });
    }
    Ok(score)
}
