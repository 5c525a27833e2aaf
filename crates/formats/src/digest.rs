use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};
use striate_graph::Params;

use crate::{Dtype, FormatError, StoredTensor, TensorFile};

/// The identity of a set of weights: SHA-256, in hexadecimal, of all values, trained and stored
/// (running statistics, fixed codes), in the order of the layout as little-endian `f32`.
///
/// It does not depend on names or on the file the weights are kept in; two runs with the same
/// digest have learned the same, bit by bit.
pub fn weights_sha256(params: &Params) -> String {
    let mut hash = Sha256::new();
    update(&mut hash, params.values());
    hex(hash)
}

impl TensorFile {
    /// SHA-256, in hexadecimal, of the values of a tensor, in the order of its axes as little-endian
    /// `f32`: the same for every file that has them, whatever its format.
    ///
    /// # Errors
    /// [`FormatError::Unsupported`] if they are no floating-point numbers.
    pub fn sha256(&self, tensor: &StoredTensor) -> Result<String, FormatError> {
        let (mut hash, len) = (Sha256::new(), tensor.shape.iter().product());
        let mut room = vec![0.0; TOGETHER.min(len)];
        for from in (0..len).step_by(TOGETHER) {
            let values = &mut room[..TOGETHER.min(len - from)];
            self.piece(tensor, from, values)?;
            update(&mut hash, values);
        }
        Ok(hex(hash))
    }
}

/// Values of a tensor that are read at a time.
const TOGETHER: usize = 1 << 20;

fn update(hash: &mut Sha256, values: &[f32]) {
    let mut bytes = Vec::new();
    for values in values.chunks(1 << 14) {
        hash.update(Dtype::F32.bytes(values, &mut bytes));
    }
}

/// SHA-256 of a file, in hexadecimal: what a download is checked against.
///
/// # Errors
/// [`FormatError::Io`] if it cannot be read.
pub fn file_sha256(path: &Path) -> Result<String, FormatError> {
    let digest = || {
        let (mut file, mut hash) = (File::open(path)?, Sha256::new());
        let mut bytes = Vec::new();
        while file.by_ref().take(1 << 16).read_to_end(&mut bytes)? > 0 {
            hash.update(&bytes);
            bytes.clear();
        }
        Ok(hex(hash))
    };
    digest().map_err(FormatError::io("read", path))
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use striate_graph::{Graph, Shape};

    #[test]
    fn a_digest_is_of_little_endian_values_in_order() {
        let graph = Graph::build(Shape::map(1, 1, 1), |x| x.at("fc").flatten().linear(1)).unwrap();
        let mut params = Params::zeros(&graph);
        params.values_mut().copy_from_slice(&[1.0, -2.0]);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("values");
        std::fs::write(&path, [0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]).unwrap();
        assert_eq!(weights_sha256(&params), file_sha256(&path).unwrap());
        assert!(file_sha256(directory.path()).is_err());
    }

    #[test]
    fn the_digest_of_nothing() {
        let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let graph = Graph::build(Shape::map(1, 1, 1), |x| x.relu()).unwrap();
        assert_eq!(weights_sha256(&Params::zeros(&graph)), nothing);
    }
}
