//! The ground floor: dense `f32` tensors and the random numbers the project draws.
//!
//! A [`Tensor`] is contiguous, the last axis fastest; pictures and maps are `N×C×H×W`. Values that are
//! stored in another order are gathered ([`strided`]). A [`Rng`]
//! is counter-based: a seed and a key name a stream, so what is drawn for one picture of one epoch
//! does not depend on who drew before.

#![forbid(unsafe_code)]

mod rng;
pub mod strided;
mod tensor;

pub use rng::Rng;
pub use tensor::{ShapeError, Tensor, View, max_abs, max_difference, top};
