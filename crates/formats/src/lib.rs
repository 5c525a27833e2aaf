//! Files of weights and networks: bytes ↔ [`Params`](striate_graph::Params), and
//! [`Graph`](striate_graph::Graph) ↔ ONNX.
//!
//! A reader turns a file into a [`TensorFile`], named tensors and metadata, checked before anything
//! is allocated for them; [`TensorFile::load`] puts the tensors in their places in a network, or
//! says all that does not fit; [`TensorFile::weights`] leaves them in the file until they are read,
//! piece by piece. The formats are safetensors; PyTorch's `.pth`, which is read by a machine of our
//! own that executes nothing; Keras's `.weights.h5`, `.h5` and `.keras`; and Caffe's `.caffemodel`
//! ([`caffe`]). A network with its weights is read and written as ONNX ([`onnx`]). Every file is written under
//! another name first, as [`write_atomically`] does: what was there stays until the new one is whole.
//!
//! ```
//! use std::collections::BTreeMap;
//! use striate_formats::{Dtype, load, save};
//! use striate_graph::{Graph, Init, Naming, Params, Shape};
//! use striate_tensor::Rng;
//!
//! let graph = Graph::build(Shape::map(1, 8, 8), |x| x.at("c1").conv(3, 4).relu())?;
//! let params = Params::init(&graph, &Init::LeCun, &Rng::new(1));
//! let naming = Naming::rules(&[("c1", "features.0")]);
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("model.safetensors");
//! save(&path, &graph, &params, &naming, None, &BTreeMap::new(), Dtype::F32)?;
//! assert_eq!(load(&path, &graph, &naming)?.params, params);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod archive;
mod atomic;
pub mod caffe;
mod checksum;
mod definition;
mod digest;
mod disk;
mod dtype;
mod error;
mod file;
mod format;
mod keras;
pub mod limits;
mod matching;
mod model;
pub mod onnx;
mod output;
mod parts;
mod positioned;
mod protobuf;
mod pytorch;
mod safetensors;
mod source;
mod stored;
mod tensors;
mod weights;

pub use atomic::write_atomically;
pub use definition::{NETWORK, definition};
pub use digest::{file_sha256, weights_sha256};
pub use dtype::{Dtype, Element};
pub use error::{FormatError, MismatchError, Misshapen};
pub use file::{Listing, StoredTensor, TensorFile, list, list_within, read, read_within};
pub use format::Format;
pub use keras::save_keras;
pub use limits::Limits;
pub use model::{Model, Port, Ports};
pub use stored::StoredParams;
pub use tensors::{read_tensor, read_tensors, write_tensors};
pub use weights::{CLASSES, INPUT, Loaded, MODEL, load, load_bytes, save};
