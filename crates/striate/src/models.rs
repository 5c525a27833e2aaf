//! Networks that somebody named, their weights, and what becomes of both.

mod classifier;
mod convert;
mod definition;
mod error;
mod function;
mod inspect;
mod model;
mod network;
mod recognise;
mod verify;

pub use classifier::{Class, Classifier};
pub use convert::{Conversion, Converted, Moved, convert};
pub use definition::is_network_file;
pub use error::ModelError;
pub use inspect::{Inspected, inspect};
pub use model::Model;
pub use network::{Choices, Network, Weights};
pub use recognise::{fits, same};
pub use verify::Verified;
