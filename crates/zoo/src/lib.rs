//! The landmark convolutional networks, each defined once, as its paper's table reads.
//!
//! A file holds a family: the network as a function, and at its end the entries of the registry,
//! one an edition. What others made of a network (a bottleneck with the stride moved, a GoogLeNet
//! with 3×3 where the paper has 5×5) is an entry of its own, because weights belong to one exact
//! graph. A bare name is torchvision's edition where torchvision has one, since those are the
//! weights people have; the paper's stands beside it.
//!
//! ```
//! let vgg16 = striate_zoo::build("vgg16")?;
//! assert_eq!(vgg16.total().params, 138_357_544);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod alexnet;
mod architecture;
mod bn_inception;
mod googlenet;
mod inception_resnet;
mod inception_v3;
mod inception_v4;
mod keras;
mod lenet;
mod nin;
mod papers;
mod preresnet;
mod resnet;
mod resnet_cifar;
mod squeezenet;
mod vgg;
mod zfnet;

pub use architecture::{
    Architecture, Config, DataSet, Edition, Paper, Pretrained, Totals, Training,
    UnknownArchitecture,
};

use striate_graph::Graph;

/// Every network. The order is the order of tables and menus.
pub static ARCHITECTURES: &[&[Architecture]] = &[
    lenet::ALL,
    alexnet::ALL,
    zfnet::ALL,
    nin::ALL,
    vgg::ALL,
    googlenet::ALL,
    bn_inception::ALL,
    inception_v3::ALL,
    inception_v4::ALL,
    inception_resnet::ALL,
    resnet::ALL,
    resnet_cifar::ALL,
    preresnet::ALL,
    squeezenet::ALL,
];

/// All entries, in order.
pub fn all() -> impl Iterator<Item = &'static Architecture> {
    ARCHITECTURES.iter().copied().flatten()
}

/// The entry of a name.
///
/// # Errors
/// [`UnknownArchitecture`] with the nearest names.
pub fn find(name: &str) -> Result<&'static Architecture, UnknownArchitecture> {
    all().find(|entry| entry.name == name).ok_or_else(|| UnknownArchitecture::of(name))
}

/// The entries whose name fits a pattern, in which `*` stands for any characters, or none.
pub fn matching(pattern: &str) -> impl Iterator<Item = &'static Architecture> {
    all().filter(move |entry| architecture::fits(pattern.as_bytes(), entry.name.as_bytes()))
}

/// The network of a name, with the classes and the input it was made for.
///
/// # Errors
/// [`UnknownArchitecture`] with the nearest names.
pub fn build(name: &str) -> Result<Graph, UnknownArchitecture> {
    let entry = find(name)?;
    Ok(entry.build(&entry.config()).expect("every entry builds as registered; a test sees to it"))
}
