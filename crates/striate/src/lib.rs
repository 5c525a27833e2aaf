//! The runnable field guide of convolutional networks.
//!
//! Every landmark network from LeNet-5 (1998) to ResNet-200, in the paper's edition and in those
//! that torchvision and Caffe made of it, is defined once, as a small static graph that reads like
//! the paper's table. Everything follows from that one value.
//!
//! A picture to its classes:
//! ```
//! # #[cfg(feature = "embedded")] {
//! # use std::path::Path;
//! # let picture = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/photographs/chelsea.png"));
//! use striate::{Model, data};
//!
//! let mut classifier = Model::embedded()?.classifier(0)?;
//! let best = &classifier.classify(&data::open(picture)?, 5)?[0];
//! assert_eq!(best.label, "Egyptian cat");
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//! An architecture to its table:
//! ```
//! # #[cfg(feature = "render")] {
//! use striate::zoo;
//!
//! let resnet50 = zoo::build("resnet50")?;
//! assert_eq!(resnet50.total().params, 25_557_032);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

#[cfg(all(feature = "formats", feature = "data", feature = "exec"))]
mod models;

#[cfg(all(feature = "formats", feature = "data", feature = "exec"))]
pub use models::{
    Choices, Class, Classifier, Conversion, Converted, Inspected, Model, ModelError, Moved,
    Network, Verified, Weights, convert, fits, inspect, is_network_file, same,
};

#[cfg(feature = "data")]
pub use striate_data as data;
#[cfg(feature = "exec")]
pub use striate_exec as exec;
#[cfg(feature = "formats")]
pub use striate_formats as formats;
pub use striate_graph as graph;
#[cfg(feature = "render")]
pub use striate_render as render;
pub use striate_tensor as tensor;
#[cfg(feature = "train")]
pub use striate_train as train;
pub use striate_zoo as zoo;
