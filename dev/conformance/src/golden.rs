//! Weights and inputs as functions of names, so that golden outputs need no weight files.
//! The recipe is in `tests/golden/README.md`.

use std::path::PathBuf;

use serde_json::Value;
use striate_graph::op::Role;
use striate_graph::{Graph, Naming, Op, Params};
use striate_tensor::Tensor;

/// The golden file of a name, `logits/vgg16.json`.
///
/// # Panics
/// If there is none, or it is not JSON.
pub fn read(name: &str) -> Value {
    let path = directory().join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Where the golden files are.
pub fn directory() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden"))
}

/// A JSON list of numbers.
pub fn numbers(list: &Value) -> Vec<f64> {
    let list = list.as_array().map_or(&[][..], |list| list);
    list.iter().map(|number| number.as_f64().unwrap_or(f64::NAN)).collect()
}

/// `u(name, i)`: uniform in [0, 1), splitmix64 counted from the FNV-1a hash of the name.
pub fn uniform(name: &str, i: usize) -> f64 {
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, fnv);
    let z = seed.wrapping_add((i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 24)
}

/// Every parameter and running statistic, by the name it has in files.
pub fn params(graph: &Graph, naming: &Naming, gain: f64) -> Params {
    let keys = naming.keys(graph);
    let mut params = Params::zeros(graph);
    for param in std::sync::Arc::clone(params.layout()).params() {
        let name = format!("{}.{}", keys[param.node.index()], param.slot.leaf);
        let fan_in = param.slot.shape[1..].iter().product::<usize>() as f64;
        let subsample = matches!(graph.node(param.node).op, Op::Subsample(_));
        let value = |u: f64| match param.slot.role {
            Role::Weight => gain * (6.0 / fan_in).sqrt() * (2.0 * u - 1.0),
            Role::Bias => 0.1 * (2.0 * u - 1.0),
            Role::Scale if subsample => 0.25 * (0.75 + 0.5 * u),
            Role::Scale => 0.75 + 0.5 * u,
            Role::Shift | Role::Mean => 0.2 * (2.0 * u - 1.0),
            Role::Variance => 0.5 + u,
            Role::Fixed if u < 0.5 => -1.0,
            Role::Fixed => 1.0,
        };
        let values = &mut params.values_mut()[param.range.clone()];
        for (i, v) in values.iter_mut().enumerate() {
            *v = value(uniform(&name, i)) as f32;
        }
    }
    params.sever(graph);
    params
}

/// The input that a golden file describes under `input`.
pub fn input(golden: &Value, name: &str) -> Tensor {
    let shape: Vec<usize> = numbers(&golden["shape"]).iter().map(|&n| n as usize).collect();
    let bounds = [&golden["lo"], &golden["hi"]].map(|v| v.as_f64().unwrap_or(f64::NAN));
    let [low, high] = bounds;
    let [n, c, h, w] = shape[..] else { panic!("an input of shape {shape:?}") };
    let block = (h / 8).max(1);
    let grid = h.div_ceil(block);
    let coarse = format!("{name}.coarse");
    let mut values = Vec::with_capacity(n * c * h * w);
    for plane in 0..n * c {
        for y in 0..h {
            for x in 0..w {
                let i = (plane * h + y) * w + x;
                let j = (plane * grid + y / block) * grid + x / block;
                let u = 0.25 * uniform(name, i) + 0.75 * uniform(&coarse, j);
                values.push((low + (high - low) * u) as f32);
            }
        }
    }
    Tensor::new(&shape, values).expect("as many values as the shape has")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_values_of_the_recipe() {
        assert_eq!(uniform("input", 0), 0.097_818_315_029_144_29);
        assert_eq!(uniform("input", 1), 0.652_360_379_695_892_3);
        let entry = striate_zoo::find("alexnet").expect("registered");
        let graph = entry.build(&entry.config()).expect("builds");
        let params = params(&graph, &entry.naming, 1.0);
        assert_eq!(f64::from(params.values()[0]), 0.091_475_829_482_078_55);
        let lenet = read("logits/lenet5.json");
        assert_eq!(f64::from(input(&lenet["input"], "input").data()[0]), 0.811_605_870_723_724_4);
    }
}
