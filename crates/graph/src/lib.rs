//! A convolutional network as one value.
//!
//! A [`Graph`] is plain data: operations, names, edges, shapes. It holds no weights, no kernels and
//! no device, and nobody changes it once it is built. [`Graph::build`] makes one from lines that
//! read like the rows of a paper's table; [`Params`] holds the learned values of one,
//! and [`ParamSource`] is wherever they come from.
//!
//! ```
//! use striate_graph::{Graph, Shape};
//!
//! let lenet = Graph::build(Shape::map(1, 32, 32), |x| {
//!     let x = x.at("c1").conv(5, 6).pad(0).relu().avg_pool(2, 2);
//!     let x = x.at("c3").conv(5, 16).pad(0).relu().avg_pool(2, 2);
//!     x.flatten().at("fc").linear(10)
//! })?;
//! assert_eq!(lenet.total().params, 156 + 2_416 + 4_010);
//! assert_eq!(lenet.nodes()[2].name, "c1.relu");
//! # Ok::<(), striate_graph::GraphError>(())
//! ```

#![forbid(unsafe_code)]

mod build;
mod cost;
mod error;
mod graph;
mod init;
mod input_spec;
mod naming;
pub mod op;
mod params;
mod shape;
mod source;

pub use build::{Value, add, add_scaled, concat};
pub use cost::Cost;
pub use error::{GraphError, Reason};
pub use graph::{Graph, MAX_VOLUME, Node, NodeId, Output, Part};
pub use init::Init;
pub use input_spec::{ChannelOrder, Filter, InputSpec, Resize};
pub use naming::Naming;
pub use op::Op;
pub use params::{Param, ParamLayout, Params};
pub use shape::{Shape, Sides, Size};
pub use source::{Drawn, ParamSource, SourceError};
