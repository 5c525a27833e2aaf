use striate_graph::SourceError;
use striate_kernels::blocked::Isa;

/// Why a network cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The parameters were made for another network.
    #[error("the parameters are of another network: found {found}, expected {expected}")]
    Params {
        /// The first tensor that differs, with its extents.
        found: String,
        /// What the network has in its place.
        expected: String,
    },
    /// The parameters cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A plan for no image at all.
    #[error("found a batch of 0 images, expected at least 1")]
    EmptyBatch,
    /// A network of which nothing was asked.
    #[error("the network has no output")]
    NoOutput,
    /// A value was to be kept that the network does not have.
    #[error("node {found} cannot be kept: the network has {nodes} nodes")]
    Keep {
        /// Its position in the list of nodes.
        found: usize,
        /// How many there are.
        nodes: usize,
    },
    /// More threads than make sense.
    #[error("found {found} threads, expected at most {most}")]
    Threads {
        /// How many were asked for.
        found: usize,
        /// The most there may be.
        most: usize,
    },
    /// Instructions that this machine does not have.
    #[error(
        "this machine has no {found}, expected one of {}",
        Isa::available().map(Isa::name).collect::<Vec<_>>().join(", ")
    )]
    Isa {
        /// What was asked for.
        found: Isa,
    },
    /// More memory than a plan may take, or than there is.
    #[error("a batch of {batch} images takes more memory than there is")]
    TooLarge {
        /// The images of the batch.
        batch: usize,
    },
}

/// Why a compiled network cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Images of another size, or another number of them, than the network was compiled for.
    #[error("found images of shape {found:?}, expected {}", wanted(.expected))]
    Shape {
        /// The shape of the images.
        found: Vec<usize>,
        /// The shape of the largest batch; fewer images do as well.
        expected: Vec<usize>,
    },
    /// The network, these parameters or so many images do not go together.
    #[error(transparent)]
    Compile(#[from] CompileError),
}

/// `N×3×224×224, N from 1 to 8`.
fn wanted(expected: &[usize]) -> String {
    let Some((batch, sample)) = expected.split_first() else { return String::from("images") };
    let sample: Vec<String> = sample.iter().map(usize::to_string).collect();
    match batch {
        1 => format!("1×{}", sample.join("×")),
        _ => format!("N×{}, N from 1 to {batch}", sample.join("×")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_shape_is_told_with_the_right_one() {
        let error = |expected: &[usize]| {
            RunError::Shape { found: vec![9, 3], expected: expected.to_vec() }.to_string()
        };
        assert_eq!(error(&[1, 3, 4]), "found images of shape [9, 3], expected 1×3×4");
        assert_eq!(error(&[8, 3]), "found images of shape [9, 3], expected N×3, N from 1 to 8");
    }
}
