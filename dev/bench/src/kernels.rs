//! Convolutions by themselves, against the multiply-adds of registers in the same run.

use std::time::Instant;

use striate_kernels::blocked::{
    Algorithm, Buffer, Convolution, Destination, Input, Isa, Outputs, Pixel, Tail, blocks,
    multiply_adds,
};
use striate_kernels::{Conv, Threads};

/// A convolution, `in → out, kernel/stride, output size`.
fn conv(c: usize, o: usize, k: usize, stride: usize, size: usize) -> Conv {
    Conv {
        batch: 1,
        input: [c, size * stride, size * stride],
        output: [o, size, size],
        kernel: [k; 2],
        stride: [stride; 2],
        pad: [k / 2; 4],
        dilation: [1; 2],
        groups: 1,
    }
}

pub(crate) fn run(filter: &str) -> Result<(), String> {
    let number = |name: &str| std::env::var(name).ok().and_then(|number| number.parse().ok());
    let threads = Threads::new(number("THREADS").unwrap_or_else(Threads::available));
    let batch = number("BATCH").unwrap_or(1);
    let isa =
        std::env::var("ISA").ok().and_then(|name| Isa::named(&name)).unwrap_or_else(Isa::best);
    let join = best(200, || threads.run(threads.count(), |_| {}));
    println!("{isa}, {} threads; fork and join {:.2} µs", threads.count(), join * 1e6);
    let convs = [
        conv(3, 64, 3, 1, 224),
        conv(3, 64, 7, 2, 112),
        conv(3, 64, 11, 4, 55),
        conv(64, 64, 3, 1, 224),
        conv(64, 128, 3, 1, 112),
        conv(128, 128, 3, 1, 112),
        conv(128, 256, 3, 1, 56),
        conv(256, 256, 3, 1, 56),
        conv(256, 512, 3, 1, 28),
        conv(512, 512, 3, 1, 28),
        conv(512, 512, 3, 1, 14),
        conv(64, 64, 3, 1, 56),
        conv(128, 128, 3, 1, 28),
        conv(256, 256, 3, 1, 14),
        conv(512, 512, 3, 1, 7),
        conv(384, 256, 3, 1, 13),
        conv(64, 64, 1, 1, 56),
        conv(64, 256, 1, 1, 56),
        conv(256, 64, 1, 1, 56),
        conv(256, 128, 1, 1, 56),
        conv(128, 512, 1, 1, 28),
        conv(512, 128, 1, 1, 28),
        conv(256, 512, 1, 2, 28),
        conv(512, 256, 1, 1, 28),
        conv(256, 1024, 1, 1, 14),
        conv(1024, 256, 1, 1, 14),
        conv(512, 2048, 1, 1, 7),
        conv(2048, 512, 1, 1, 7),
        conv(1024, 2048, 1, 2, 7),
        conv(128, 128, 3, 2, 28),
        conv(256, 256, 3, 2, 14),
        conv(512, 512, 3, 2, 7),
        conv(64, 192, 5, 1, 27),
        conv(48, 64, 5, 1, 35),
        conv(32, 96, 5, 1, 14),
        conv(96, 256, 5, 2, 26),
        Conv { kernel: [1, 3], pad: [0, 1, 0, 1], ..conv(384, 384, 3, 1, 8) },
        Conv { kernel: [1, 7], pad: [0, 3, 0, 3], ..conv(192, 192, 7, 1, 17) },
        Conv { kernel: [7, 1], pad: [3, 0, 3, 0], ..conv(192, 192, 7, 1, 17) },
        conv(288, 384, 3, 2, 17),
        conv(768, 192, 1, 1, 17),
        conv(16, 16, 3, 1, 32),
        conv(16, 32, 3, 2, 16),
        conv(32, 32, 3, 1, 16),
        conv(64, 64, 3, 1, 8),
    ];
    for conv in convs {
        for algorithm in Algorithm::ALL {
            measure(isa, &threads, &Conv { batch, ..conv }, algorithm, filter);
        }
    }
    Ok(())
}

fn measure(isa: Isa, threads: &Threads, conv: &Conv, algorithm: Algorithm, filter: &str) {
    let Conv { batch, input: [c, h, w], output: [o, oh, ow], .. } = *conv;
    let Conv { kernel: [k, kw], stride: [s, _], .. } = *conv;
    let name = format!("{c}→{o} {k}×{kw}/{s} {oh}² {}", algorithm.name());
    let Some(convolution) = Convolution::new(isa, algorithm, conv) else { return };
    if !name.contains(filter) || (c <= 4) != (algorithm == Algorithm::FirstLayer) {
        return;
    }
    let value = |i: usize| ((i * 7919 % 2003) as f32 - 1001.0) / 1001.0;
    let weight: Vec<f32> = (0..o * c * k * kw).map(value).collect();
    let mut packed = buffer(convolution.packed_len());
    convolution.pack(threads, &weight, &mut packed);
    let planes: Vec<f32> = (0..batch * c * h * w).map(value).collect();
    let mut pixels = buffer(batch * blocks(c) * h * w);
    striate_kernels::blocked::pack(threads, [batch, c, h * w], &planes, &mut pixels);
    let bias = vec![Pixel::ZERO; blocks(o)];
    let mut out = buffer(batch * blocks(o) * oh * ow);
    let mut scratch = buffer(convolution.scratch_len(threads.count()));
    let mut cold = buffer(3 << 18);
    let mut call = || {
        let tail = Tail { bias: &bias, factor: 1.0, residual: None, relu: true, activation: None };
        let x = if c <= 4 { Input::Planes(&planes) } else { Input::Pixels(&pixels) };
        let outputs = Outputs { out: Destination::whole(&mut out, blocks(o)), sum: None };
        convolution.run(threads, x, &packed, &tail, outputs, &mut scratch);
    };
    let flops = 2.0 * (batch * o * c * k * kw * oh * ow) as f64;
    let seconds = flops / 4e11;
    // A machine changes its speed within milliseconds: each measurement has a peak beside it.
    let runs = ((0.001 / seconds) as usize).clamp(1, 20);
    let [mut peaks, mut hot, mut hot_share, mut colds, mut cold_share] = [const { Vec::new() }; 5];
    call();
    for _ in 0..60 {
        let time = best(runs, &mut call);
        let peak = peak(isa, threads);
        peaks.push(peak);
        hot.push(time);
        hot_share.push(flops / time / peak);
    }
    for _ in 0..15 {
        cold.iter_mut().for_each(|pixel| pixel.0[0] += 1.0);
        let time = once(&mut call);
        colds.push(time);
        cold_share.push(flops / time / peak(isa, threads));
    }
    let hot = median(hot);
    println!(
        "{name:<34} hot {:8.3} ms {:5.0} GFLOP/s {:5.2} of peak {:4.0}; cold {:8.3} ms {:5.2}",
        hot * 1e3,
        flops / hot / 1e9,
        median(hot_share),
        median(peaks) / 1e9,
        median(colds) * 1e3,
        median(cold_share),
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Memory as the engine has it.
fn buffer(pixels: usize) -> Buffer {
    Buffer::zeroed(pixels).expect("memory for a convolution")
}

fn once(call: &mut impl FnMut()) -> f64 {
    let start = Instant::now();
    call();
    start.elapsed().as_secs_f64()
}

/// Seconds of the fastest of some runs.
fn best(runs: usize, mut call: impl FnMut()) -> f64 {
    (0..runs).map(|_| once(&mut call)).fold(f64::INFINITY, f64::min)
}

/// Operations a second of all threads.
pub(crate) fn peak(isa: Isa, threads: &Threads) -> f64 {
    const ROUNDS: usize = 20_000;
    let seconds = best(10, || {
        threads.run(threads.count(), |_| {
            multiply_adds(isa, ROUNDS);
        });
    });
    multiply_adds(isa, ROUNDS) * threads.count() as f64 / seconds
}
