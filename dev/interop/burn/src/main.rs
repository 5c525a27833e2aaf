//! Runs a network: `generated NAME FOLDER` reads `weights.safetensors` and `input.f32` there, a picture
//! of so many channels, rows and columns as `shape` says, and writes `output.f32`.

#![deny(warnings)]

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use burn::prelude::*;

/// A module a network, and `run`, which finds one by its name.
macro_rules! networks {
    ($($name:ident: $network:ident,)*) => {
        $(#[allow(dead_code, reason = "a public item of a library")] mod $name;)*

        fn run(name: &str, x: Tensor<4>, classes: usize, weights: &Path) -> Result<Vec<f32>, Box<dyn Error>> {
            match name {
                $(stringify!($name) => {
                    let mut network = $name::$network::new(classes, &x.device());
                    $name::load_weights(&mut network, weights)?;
                    Ok(network.forward(x).into_data().try_to_vec::<f32>()?)
                })*
                _ => Err(format!("no network {name}").into()),
            }
        }
    };
}

include!("networks.in");

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().collect();
    let [_, name, folder] = &arguments[..] else { return Err("NAME FOLDER".into()) };
    let folder = Path::new(folder);
    let sizes = fs::read_to_string(folder.join("sizes"))?;
    let sizes: Vec<usize> = sizes.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [classes, channels, height, width] = sizes[..] else { return Err("four sizes".into()) };
    let bytes = fs::read(folder.join("input.f32"))?;
    let values: Vec<f32> =
        bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    let x = Tensor::<1>::from_floats(&values[..], &Device::flex());
    let x = x.reshape([1, channels, height, width]);
    let output = run(name, x, classes, &folder.join("weights.safetensors"))?;
    let bytes: Vec<u8> = output.into_iter().flat_map(f32::to_le_bytes).collect();
    Ok(fs::write(folder.join("output.f32"), bytes)?)
}
