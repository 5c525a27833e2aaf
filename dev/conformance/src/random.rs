//! Random networks: whatever the operations allow, in small.

use striate_graph::op::{Lrn, Tanh};
use striate_graph::{Graph, Shape, Value, add, add_scaled, concat};
use striate_tensor::Rng;

/// The network of a seed: up to eight rows of layers, branches and heads.
///
/// # Panics
/// If the generator made a mistake.
pub fn graph(seed: u64) -> Graph {
    let mut rng = Rng::keyed(seed, [1, 0, 0]);
    let [c, h, w] = [1 + rng.below(6), 3 + rng.below(10), 3 + rng.below(10)];
    Graph::build(Shape::map(c, h, w), |mut x| {
        for i in 0..1 + rng.below(8) {
            x = match rng.below(5) {
                0 => inception(&mut rng, x),
                1 => residual(&mut rng, x),
                _ => layer(&mut rng, x),
            };
            if rng.chance(0.1) {
                classifier(&mut rng, x).output(format!("head{i}"));
            }
        }
        classifier(&mut rng, x)
    })
    .unwrap_or_else(|e| panic!("seed {seed}: {e}"))
}

fn extents(x: Value<'_>) -> [usize; 3] {
    x.shape().chw()
}

/// From `low` to `high`, both included.
fn between(rng: &mut Rng, low: usize, high: usize) -> usize {
    low + rng.below(high - low + 1)
}

/// A layer of any kind.
fn layer<'g>(rng: &mut Rng, x: Value<'g>) -> Value<'g> {
    let [c, ..] = extents(x);
    match rng.below(12) {
        0..4 => {
            let y = conv(rng, x);
            finish(rng, y)
        }
        4 | 5 => pool(rng, x),
        6 => x.batch_norm(),
        7 => activation(rng, x),
        8 => x.lrn(Lrn {
            size: between(rng, 1, 6),
            alpha: rng.within(0.0, 0.5),
            divided: rng.chance(0.5),
            beta: 0.75,
            k: rng.within(0.5, 2.0),
        }),
        9 => x.dropout(0.3),
        10 => x.shortcut(between(rng, 1, 2), c + rng.below(3)),
        _ => x.adaptive_avg_pool((between(rng, 1, 6), between(rng, 1, 6))),
    }
}

/// A convolution with everything at random.
fn conv<'g>(rng: &mut Rng, x: Value<'g>) -> Value<'g> {
    let [c, h, w] = extents(x);
    let divisors: Vec<usize> = (1..=c).filter(|&d| c.is_multiple_of(d)).collect();
    let groups = divisors[rng.below(divisors.len())];
    let kernel = (between(rng, 1, h.min(5)), between(rng, 1, w.min(5)));
    let room = |n: usize, kernel: usize| if kernel == 1 { 2 } else { (n - 1) / (kernel - 1) };
    let dilation = (
        between(rng, 1, room(h, kernel.0).clamp(1, 3)),
        between(rng, 1, room(w, kernel.1).clamp(1, 3)),
    );
    let stride = (between(rng, 1, 3), between(rng, 1, 3));
    let mut side = || rng.below(3);
    let pad = [side(), side(), side(), side()];
    let out = groups * between(rng, 1, 8usize.div_ceil(groups));
    let y = x.conv(kernel, out).dilation(dilation).stride(stride).pad(pad);
    let y = if groups > 1 || rng.chance(0.1) { y.groups(groups) } else { y };
    if rng.chance(0.4) { y.no_bias() } else { y }
}

/// A convolution that keeps the size of the map.
fn same<'g>(rng: &mut Rng, x: Value<'g>, out: usize) -> Value<'g> {
    let kernel = [1, 3, 5][rng.below(3)];
    x.conv(kernel, out)
}

/// What stands behind a convolution: perhaps a normalisation, perhaps an activation.
fn finish<'g>(rng: &mut Rng, mut x: Value<'g>) -> Value<'g> {
    if rng.chance(0.5) {
        x = x.batch_norm();
    }
    if rng.chance(0.7) { activation(rng, x) } else { x }
}

fn activation<'g>(rng: &mut Rng, x: Value<'g>) -> Value<'g> {
    match rng.below(6) {
        0 => x.tanh(Tanh::LECUN),
        1 => x.sigmoid(),
        _ => x.relu(),
    }
}

fn pool<'g>(rng: &mut Rng, x: Value<'g>) -> Value<'g> {
    let [_, h, w] = extents(x);
    let kernel = (between(rng, 1, h.min(3)), between(rng, 1, w.min(3)));
    let stride = (between(rng, 1, 3), between(rng, 1, 3));
    let mut pads = |kernel: usize| (rng.below(kernel), rng.below(kernel));
    let ((top, bottom), (left, right)) = (pads(kernel.0), pads(kernel.1));
    if rng.chance(0.15) {
        return x.subsample(kernel, stride);
    }
    let y = match rng.below(3) {
        0 => x.avg_pool(kernel, stride),
        1 => x.avg_pool(kernel, stride).exclude_pad(),
        _ => x.max_pool(kernel, stride),
    };
    let y = y.pad([top, left, bottom, right]);
    if rng.chance(0.5) { y.ceil() } else { y }
}

/// Branches over one map, joined.
fn inception<'g>(rng: &mut Rng, x: Value<'g>) -> Value<'g> {
    let branches: Vec<Value<'g>> = (0..between(rng, 1, 4))
        .map(|_| {
            let out = between(rng, 1, 4);
            match rng.below(5) {
                0 => x,
                1 => x.max_pool(1, 1).relu(),
                2 => {
                    let y = same(rng, x, out).relu();
                    let y = same(rng, y, out);
                    finish(rng, y)
                }
                _ => {
                    let y = same(rng, x, out);
                    finish(rng, y)
                }
            }
        })
        .collect();
    concat(&branches)
}

/// A branch added to what it branched from.
fn residual<'g>(rng: &mut Rng, x: Value<'g>) -> Value<'g> {
    let [c, ..] = extents(x);
    let y = same(rng, x, c);
    let y = finish(rng, y);
    let shortcut = if rng.chance(0.3) { same(rng, x, c).batch_norm() } else { x };
    let sum = match rng.below(4) {
        0 => add_scaled(shortcut, rng.within(0.1, 1.0), y),
        1 => add(shortcut, y),
        _ => add(y, shortcut),
    };
    if rng.chance(0.6) { sum.relu() } else { sum }
}

fn classifier<'g>(rng: &mut Rng, x: Value<'g>) -> Value<'g> {
    let classes = between(rng, 2, 10);
    let y = match rng.below(3) {
        0 => x.conv(1, classes).global_avg_pool().flatten(),
        1 => x.flatten().linear(classes),
        _ => {
            let y = x.flatten().linear(between(rng, 1, 20));
            finish(rng, y).dropout(0.5).linear(classes)
        }
    };
    if rng.chance(0.2) { y.softmax() } else { y }
}
