//! GFLOP/s of a few convolutions and linear layers, on one thread and on all:
//! `cargo run --release -p striate-kernels --example gflops`.

use std::time::Instant;
use striate_kernels::{Conv, Threads, conv, linear};

/// Name, batch, channels, filters, edge of the input, kernel, stride, pad.
type Case = (&'static str, usize, usize, usize, usize, usize, usize, usize);

#[rustfmt::skip]
const CONVS: &[Case] = &[
    ("vgg16 conv1_1",       1,   3,  64, 224, 3, 1, 1),
    ("vgg16 conv1_2",       1,  64,  64, 224, 3, 1, 1),
    ("resnet 56×56",        1,  64,  64,  56, 3, 1, 1),
    ("resnet 28×28",        1, 128, 128,  28, 3, 1, 1),
    ("vgg16 conv5",         1, 512, 512,  14, 3, 1, 1),
    ("resnet 7×7",          1, 512, 512,   7, 3, 1, 1),
    ("resnet 1×1",          1, 256,  64,  56, 1, 1, 0),
    ("squeezenet conv1",    1,   3,  64, 224, 3, 2, 0),
    ("squeezenet squeeze",  1, 128,  16,  55, 1, 1, 0),
    ("lenet5 c1",          64,   1,   6,  28, 5, 1, 2),
    ("lenet5 c3",          64,   6,  16,  14, 5, 1, 0),
    ("lenet5 c5",          64,  16, 120,   5, 5, 1, 0),
    ("cifar resnet",       64,  16,  16,  32, 3, 1, 1),
];

/// Name, batch, inputs, outputs.
const LINEARS: &[(&str, usize, usize, usize)] =
    &[("vgg16 fc6", 1, 25088, 4096), ("vgg16 fc7", 32, 4096, 4096), ("lenet5 f6", 64, 120, 84)];

fn main() {
    let pools = [Threads::new(1), Threads::new(Threads::available())];
    println!(
        "{:<20} {:>24} {:>24}",
        "GFLOP/s",
        "1 thread",
        format!("{} threads", pools[1].count())
    );
    println!("{0:<20} {1:>8}{2:>8}{3:>8} {1:>8}{2:>8}{3:>8}", "", "forward", "dgrad", "wgrad");
    for &(name, batch, channels, filters, edge, kernel, stride, pad) in CONVS {
        let out = (edge + 2 * pad - kernel) / stride + 1;
        let conv = Conv {
            batch,
            input: [channels, edge, edge],
            output: [filters, out, out],
            kernel: [kernel; 2],
            stride: [stride; 2],
            pad: [pad; 4],
            dilation: [1; 2],
            groups: 1,
        };
        let mut x = vec![0.5; batch * channels * edge * edge];
        let mut w = vec![0.5; filters * channels * kernel * kernel];
        let mut y = vec![0.5; batch * filters * out * out];
        let flops = (2 * y.len() * channels * kernel * kernel) as f64;
        print!("{name:<20}");
        for pool in &pools {
            let mut scratch = vec![0.0; conv::scratch(&conv, pool.count())];
            let s = &mut scratch[..];
            let forward =
                time(|| conv::forward(pool, &conv, &x, &w, None, false, &mut y, s), flops);
            let dgrad = time(|| conv::dgrad(pool, &conv, &y, &w, &mut x, s), flops);
            let wgrad = time(|| conv::wgrad(pool, &conv, &x, &y, &mut w, s), flops);
            print!(" {forward:>8.1}{dgrad:>8.1}{wgrad:>8.1}");
        }
        println!();
    }
    for &(name, batch, inputs, outputs) in LINEARS {
        let mut x = vec![0.5; batch * inputs];
        let mut w = vec![0.5; outputs * inputs];
        let mut y = vec![0.5; batch * outputs];
        let flops = (2 * batch * w.len()) as f64;
        print!("{name:<20}");
        for pool in &pools {
            let mut scratch = vec![0.0; linear::scratch(batch, outputs, pool.count())];
            let (s, [n, i, o]) = (&mut scratch[..], [batch, inputs, outputs]);
            let forward =
                time(|| linear::forward(pool, n, i, o, &x, &w, None, false, &mut y), flops);
            let dgrad = time(|| linear::dgrad(pool, n, i, o, &y, &w, &mut x, s), flops);
            let wgrad = time(|| linear::wgrad(pool, n, i, o, &x, &y, &mut w, s), flops);
            print!(" {forward:>8.1}{dgrad:>8.1}{wgrad:>8.1}");
        }
        println!();
    }
}

/// GFLOP/s of the fastest of many runs within a third of a second.
fn time(mut run: impl FnMut(), flops: f64) -> f64 {
    let (begin, mut best) = (Instant::now(), f64::INFINITY);
    while begin.elapsed().as_secs_f64() < 0.3 {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    flops / best / 1e9
}
