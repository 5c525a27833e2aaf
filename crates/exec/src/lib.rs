//! Running a network: what every engine offers, and two of them.
//!
//! A [`Backend`] compiles a graph and its parameters for batches of a size into an [`Executable`],
//! which owns its memory and turns images into [`Outputs`]. [`Native`] is the engine for CPUs;
//! [`Interpreter`] is plain loops in double precision, which say what is right.
//!
//! ```
//! use striate_exec::{Backend, Native, Options};
//! use striate_graph::{Graph, Init, Params, Shape};
//! use striate_tensor::{Rng, Tensor};
//!
//! let graph = Graph::build(Shape::map(1, 8, 8), |x| {
//!     let x = x.at("conv").conv(3, 4).batch_norm().relu().max_pool(2, 2);
//!     x.flatten().at("fc").linear(10)
//! })?;
//! let params = Params::init(&graph, &Init::KaimingFanIn, &Rng::new(1));
//! let mut network = Native::default().compile(&graph, &params, &Options::default())?;
//! let outputs = network.run(&Tensor::zeros(&[1, 1, 8, 8]))?;
//! assert_eq!(outputs.logits().shape(), [1, 10]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod backend;
mod error;
pub mod geometry;
pub mod interpreter;
pub mod native;
mod outputs;

pub use backend::{Accuracy, Backend, Executable, Options};
pub use error::{CompileError, RunError};
pub use interpreter::Interpreter;
pub use native::{Native, planned_bytes};
pub use outputs::Outputs;
pub use striate_kernels::blocked::Isa;
