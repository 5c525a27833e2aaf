//! A network as text: tables of its layers, what differs between two networks, and source code that
//! builds it.
//!
//! Everything here is a function from a [`Graph`](striate_graph::Graph) to a string; nothing is
//! read, written or printed. What a graph does not know about itself, its title and its paper, comes
//! in a [`Heading`].
//!
//! ```
//! use striate_graph::{Graph, Shape};
//! use striate_render::{Format, Heading, Style, table};
//!
//! let graph = Graph::build(Shape::map(1, 32, 32), |x| x.at("c1").conv(5, 6).pad(0).relu())?;
//! let heading = Heading { name: "tiny", ..Heading::default() };
//! let listing = table(&graph, &heading, Style::Cs231n, Format::Text, 1);
//! assert!(listing.contains("CONV5-6:"));
//! assert!(listing.contains("weights: (5*5*1)*6 = 150"));
//! # Ok::<(), striate_graph::GraphError>(())
//! ```

#![forbid(unsafe_code)]

mod align;
mod attribute;
mod code;
mod cs231n;
mod diff;
mod fold;
mod grid;
mod heading;
mod json;
mod layers;
mod lenet;
mod number;
mod phrase;
mod table;

pub use attribute::Attribute;
pub use code::{Framework, code};
pub use diff::{Change, Diff, LayerDiff, OneSided, Total, diff};
pub use heading::{Heading, Paper};
pub use number::thousands;
pub use table::{Format, Style, table};
