//! From files to the batches a network is trained and tested with.
//!
//! [`open`] decodes a picture, [`preprocess`] turns it into the input that an
//! [`InputSpec`](striate_graph::InputSpec) describes. A [`Dataset`] is a row of labelled pictures:
//! the digits of [`Mnist`], an [`ImageFolder`]. A [`Loader`] draws [`Batch`]es from one, shuffled
//! and varied by an [`Augment`], the same ones for the same seed however many threads prepare them.
//!
//! ```no_run
//! use striate_data::{Augment, Loader, Mnist};
//! use striate_graph::InputSpec;
//!
//! let mnist = Mnist::open("data/mnist".as_ref())?;
//! let spec = InputSpec::digits(2, 0.1307, 0.3081);
//! let loader = Loader::new(mnist.train(), spec, Augment::digits(), 64, 1)?.shuffled().workers(2);
//! for batch in loader.epoch(0, 0) {
//!     assert_eq!(batch?.images.shape()[1..], [1, 32, 32]);
//! }
//! # Ok::<(), striate_data::DataError>(())
//! ```

#![forbid(unsafe_code)]

mod augment;
mod crops;
mod dataset;
mod digit;
mod error;
mod file;
mod folder;
mod idx;
pub mod imagenet;
mod loader;
mod mnist;
mod picture;
mod preprocess;
mod resize;

pub use augment::{Affine, Augment, ResizedCrop};
pub use crops::{Crops, crops};
pub use dataset::{Dataset, Sample, Subset};
pub use error::DataError;
pub use folder::ImageFolder;
pub use loader::{Batch, Batches, Loader};
pub use mnist::{Digits, Mnist};
pub use picture::{Colour, MAX_FILE, MAX_PIXELS, MAX_SIDE, Picture, decode, open};
pub use preprocess::preprocess;
pub use resize::resize;
