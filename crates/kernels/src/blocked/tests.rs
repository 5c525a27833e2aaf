//! Every way to compute a convolution against the definition in double precision.

mod operations;
mod pictures;

use super::*;
use crate::conv::Conv;
use crate::threads::Threads;

/// Counted numbers in [−1, 1), or [0, 1) where negative ones are cut off, as ReLU does.
fn numbers(len: usize, seed: u64, relu: bool) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let cut = |x: f32| if relu { x.max(0.0) } else { x };
    (0..len).map(|_| cut(next())).collect()
}

/// Rounds of a test: fewer where an emulator runs it, which takes its time. `EMULATED` says by what
/// factor.
fn rounds(all: u64) -> u64 {
    let factor = std::env::var("EMULATED").ok().and_then(|factor| factor.parse().ok());
    all / factor.unwrap_or(1)
}

/// Draws of a generator for shapes.
struct Draws(u64);

impl Draws {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % n
    }

    fn of(&mut self, choices: &[usize]) -> usize {
        choices[self.below(choices.len())]
    }
}

/// The sums of the definition, and the sums of their magnitudes.
fn definition(conv: &Conv, x: &[f32], weight: &[f32]) -> Vec<(f64, f64)> {
    let Conv { batch, input: [c, h, w], output: [o, oh, ow], kernel: [kh, kw], .. } = *conv;
    let (own, outs) = (c / conv.groups, o / conv.groups);
    let mut sums = vec![(0.0, 0.0); batch * o * oh * ow];
    for (at, sum) in sums.iter_mut().enumerate() {
        let (n, o, y, x_at) = (at / (o * oh * ow), at / (oh * ow) % o, at / ow % oh, at % ow);
        for i in 0..own {
            for k in 0..kh * kw {
                let row = y * conv.stride[0] + k / kw * conv.dilation[0];
                let column = x_at * conv.stride[1] + k % kw * conv.dilation[1];
                let (row, column) =
                    (row.wrapping_sub(conv.pad[0]), column.wrapping_sub(conv.pad[1]));
                if row < h && column < w {
                    let channel = o / outs * own + i;
                    let x = f64::from(x[((n * c + channel) * h + row) * w + column]);
                    let product = x * f64::from(weight[(o * own + i) * kh * kw + k]);
                    *sum = (sum.0 + product, sum.1 + product.abs());
                }
            }
        }
    }
    sums
}

fn shape(draws: &mut Draws) -> Conv {
    let kernel = draws.of(&[1, 1, 2, 3, 3, 3, 3, 5, 5, 7, 7]);
    // A line now and then.
    let kernel = [[kernel; 2], [kernel; 2], [kernel; 2], [1, kernel], [kernel, 1]][draws.below(5)];
    let plain = draws.below(2) == 0;
    let stride = if plain { 1 } else { draws.of(&[1, 2, 3]) };
    let dilation = if plain { 1 } else { draws.of(&[1, 1, 2]) };
    let groups = draws.of(&[1, 1, 1, 2, 4]);
    // Miri takes its time.
    let few = cfg!(miri);
    let own = draws.of(if few { &[1, 3, 8, 17] } else { &[1, 3, 4, 8, 15, 16, 17, 32, 33, 48] });
    let outs = draws.of(if few { &[1, 17] } else { &[1, 5, 7, 8, 15, 16, 17, 32, 40, 120] });
    let pad: [usize; 4] = std::array::from_fn(|side| draws.below(kernel[side % 2] + 1));
    let sizes: &[usize] = if few { &[1, 2, 5] } else { &[1, 2, 3, 5, 7, 8, 13, 14, 15, 29, 48] };
    let size: [usize; 2] = std::array::from_fn(|_| draws.of(sizes));
    let reach = kernel.map(|kernel| (kernel - 1) * dilation + 1);
    let least = |axis: usize| reach[axis].saturating_sub(pad[axis] + pad[axis + 2]);
    let size: [usize; 2] = std::array::from_fn(|axis| size[axis].max(least(axis)));
    let to = |axis: usize| (size[axis] + pad[axis] + pad[axis + 2] - reach[axis]) / stride + 1;
    Conv {
        batch: draws.of(if few { &[1, 2] } else { &[1, 1, 2, 5] }),
        input: [own * groups, size[0], size[1]],
        output: [outs * groups, to(0), to(1)],
        kernel,
        stride: [stride; 2],
        pad,
        dilation: [dilation; 2],
        groups,
    }
}

/// With weights beyond the second cache: of many taps, at each of the points of a transform, and twice beside an
/// input that leaves it as well; and with transforms that leave it.
fn deep() -> [Conv; 5] {
    let taps = Conv {
        batch: 2,
        input: [272, 3, 5],
        output: [496, 3, 5],
        kernel: [1, 1],
        stride: [1, 1],
        pad: [0; 4],
        dilation: [1, 1],
        groups: 1,
    };
    let points =
        Conv { input: [128, 5, 6], output: [144, 5, 6], kernel: [3, 3], pad: [1; 4], ..taps };
    let runs = Conv { batch: 1, input: [2064, 3, 11], output: [80, 3, 11], ..taps };
    let strip = Conv { input: [512, 10, 10], output: [48, 5, 5], stride: [2, 2], ..points };
    let transforms = Conv { input: [1024, 12, 12], output: [16, 12, 12], ..points };
    [taps, points, runs, Conv { batch: 1, ..strip }, Conv { batch: 1, ..transforms }]
}

/// So many numbers, an infinity and a NaN among them.
fn wild(len: usize) -> Vec<f32> {
    let mut numbers = numbers(len, 5, false);
    (numbers[len / 3], numbers[len / 2]) = (f32::INFINITY, f32::NAN);
    numbers
}

/// What a tail may have: factor, residual with a stride, ReLU, activation, and the sum beside it.
#[derive(Clone, Copy, Debug)]
struct Ending {
    factor: f32,
    residual: Option<usize>,
    relu: bool,
    activation: bool,
    sum: bool,
}

/// Output and sum, with lines of guard around them.
fn run(
    isa: Isa,
    threads: &Threads,
    algorithm: Algorithm,
    conv: &Conv,
    ending: Ending,
    x: &[f32],
    weight: &[f32],
) -> Option<[Vec<Pixel>; 2]> {
    const GUARD: Pixel = Pixel([f32::from_bits(0x7fc0_1234); LANES]);
    let convolution = Convolution::new(isa, algorithm, conv)?;
    let Conv { batch, input: [c, h, w], output: [o, oh, ow], .. } = *conv;
    let mut packed = vec![GUARD; convolution.packed_len()];
    convolution.pack(threads, weight, &mut packed);
    let mut pixels = vec![GUARD; batch * blocks(c) * h * w];
    pack(threads, [batch, c, h * w], x, &mut pixels);
    let row = |seed| {
        let mut row = vec![Pixel::ZERO; blocks(o)];
        pack(threads, [1, o, 1], &numbers(o, seed, false), &mut row);
        row
    };
    let (bias, scale, shift) = (row(7), row(8), row(9));
    let stride = ending.residual.unwrap_or(1);
    let (rh, rw) = ((oh - 1) * stride + 1, (ow - 1) * stride + 1);
    let rc = o.div_ceil(2);
    let mut residual = vec![Pixel::ZERO; batch * blocks(rc) * rh * rw];
    pack(threads, [batch, rc, rh * rw], &wild(batch * rc * rh * rw), &mut residual);
    let tail = Tail {
        bias: &bias,
        factor: ending.factor,
        residual: ending.residual.map(|stride| Added {
            value: &residual,
            blocks: blocks(rc),
            size: [rh, rw],
            stride,
        }),
        relu: ending.relu,
        activation: ending.activation.then_some([&scale[..], &shift[..]]),
    };
    // Blocks around that are somebody else's: before, and in all.
    let (area, around) = (oh * ow, [(1, blocks(o) + 3), (2, blocks(o) + 4)]);
    let [mut out, mut sum] = around.map(|(_, all)| vec![GUARD; batch * all * area]);
    let mut scratch = vec![GUARD; convolution.scratch_len(threads.count())];
    let x = match algorithm == Algorithm::FirstLayer {
        true => Input::Planes(x),
        false => Input::Pixels(&pixels),
    };
    let to = |value, (at, all)| Destination { value, blocks: all, at };
    let sum_to = ending.sum.then_some(to(&mut sum, around[1]));
    let outputs = Outputs { out: to(&mut out, around[0]), sum: sum_to };
    convolution.run(threads, x, &packed, &tail, outputs, &mut scratch);
    let own = |value: &[Pixel], (at, all): (usize, usize)| {
        let mut own = Vec::new();
        for (plane, pixels) in value.chunks_exact(area).enumerate() {
            if (at..at + blocks(o)).contains(&(plane % all)) {
                own.extend_from_slice(pixels);
            } else {
                let same = |p: &Pixel| p.0.iter().all(|v| v.to_bits() == 0x7fc0_1234);
                assert!(pixels.iter().all(same), "{algorithm:?} wrote beside its blocks: {conv:?}");
            }
        }
        own
    };
    Some([own(&out, around[0]), own(&sum, around[1])])
}

fn bits(value: &[Pixel]) -> Vec<u32> {
    Pixel::numbers(value).iter().map(|v| v.to_bits()).collect()
}

#[test]
fn every_algorithm_computes_the_definition() {
    let pools = [1, 2, 3].map(Threads::new);
    let mut draws = Draws(3);
    let mut ran = [0; Algorithm::ALL.len()];
    let mut convs: Vec<Conv> = (0..rounds(240)).map(|_| shape(&mut draws)).collect();
    convs.extend(deep());
    for (round, conv) in (0..).zip(convs) {
        let Conv { batch, input: [c, h, w], output: [o, oh, ow], kernel: [kh, kw], .. } = conv;
        let x = numbers(batch * c * h * w, round, round % 2 == 0);
        let weight = numbers(o * (c / conv.groups) * kh * kw, round + 1000, false);
        let sums = definition(&conv, &x, &weight);
        let bias = numbers(o, 7, false);
        let plain =
            Ending { factor: 1.0, residual: None, relu: false, activation: false, sum: false };
        for (kind, algorithm) in Algorithm::ALL.into_iter().enumerate() {
            let mut first: Option<Vec<u32>> = None;
            for isa in Isa::available() {
                let Some([out, _]) = run(isa, &pools[1], algorithm, &conv, plain, &x, &weight)
                else {
                    continue;
                };
                ran[kind] += 1;
                let limit = match algorithm {
                    Algorithm::Direct | Algorithm::FirstLayer | Algorithm::Winograd2 => 5e-7,
                    Algorithm::Winograd4 | Algorithm::Winograd2x5 | Algorithm::Line3 => 1.5e-6,
                    Algorithm::Winograd6 | Algorithm::Winograd4x5 | Algorithm::Line7 => 4e-6,
                };
                let mut numbers = vec![0.0; batch * o * oh * ow];
                unpack(&pools[0], [batch, o, oh * ow], &out, &mut numbers);
                // One error for a map: Winograd's is that of the neighbourhood.
                let most = sums.iter().map(|(_, size)| *size).fold(0.0, f64::max) + 1.0;
                for (at, (y, (sum, _))) in numbers.iter().zip(&sums).enumerate() {
                    let expected = sum + f64::from(bias[at / (oh * ow) % o]);
                    let error = (f64::from(*y) - expected).abs() / most;
                    assert!(
                        error <= limit,
                        "{algorithm:?} on {isa}: {error:e} at {at} of {conv:?}"
                    );
                }
                let area = oh * ow;
                for (plane, pixels) in out.chunks_exact(area).enumerate() {
                    let used = LANES.min(o - plane % blocks(o) * LANES);
                    let clean = |p: &Pixel| p.0[used..].iter().all(|v| *v == 0.0);
                    assert!(
                        pixels.iter().all(clean),
                        "{algorithm:?} on {isa}: spare lanes {conv:?}"
                    );
                }
                for threads in [&pools[0], &pools[2]] {
                    let [again, _] =
                        run(isa, threads, algorithm, &conv, plain, &x, &weight).unwrap();
                    assert_eq!(
                        bits(&out),
                        bits(&again),
                        "{algorithm:?} on {isa}, threads {conv:?}"
                    );
                }
                if isa != Isa::Portable {
                    let first = first.get_or_insert_with(|| bits(&out));
                    assert!(*first == bits(&out), "{algorithm:?}: {isa} differs, {conv:?}");
                }
            }
        }
    }
    assert!(ran.iter().all(|&ran| ran >= rounds(10)), "{ran:?}");
}

#[test]
fn every_ending_is_that_of_separate_steps() {
    let threads = Threads::new(2);
    let mut draws = Draws(11);
    let mut convs: Vec<Conv> = (0..rounds(40)).map(|_| shape(&mut draws)).collect();
    convs.extend(deep().into_iter().take(rounds(4) as usize));
    for (round, conv) in (0..).zip(convs) {
        let Conv { batch, input: [c, h, w], output: [o, oh, ow], kernel: [kh, kw], .. } = conv;
        let x = numbers(batch * c * h * w, round, true);
        let weight = numbers(o * (c / conv.groups) * kh * kw, round + 1000, false);
        let plain =
            Ending { factor: 1.0, residual: None, relu: false, activation: false, sum: false };
        let endings = [
            Ending { relu: true, ..plain },
            Ending { factor: 0.17, relu: true, ..plain },
            Ending { residual: Some(1), relu: true, ..plain },
            Ending { residual: Some(1), ..plain },
            Ending { residual: Some(2), ..plain },
            Ending { factor: 0.17, residual: Some(1), relu: true, ..plain },
            Ending { residual: Some(1), activation: true, sum: true, ..plain },
            Ending { activation: true, ..plain },
        ];
        let ways = Isa::available().flat_map(|isa| Algorithm::ALL.map(|way| (isa, way)));
        for (isa, algorithm) in ways {
            let Some([sums, _]) = run(isa, &threads, algorithm, &conv, plain, &x, &weight) else {
                continue;
            };
            for ending in endings {
                let stride = ending.residual.unwrap_or(1);
                let (rh, rw) = ((oh - 1) * stride + 1, (ow - 1) * stride + 1);
                let rc = o.div_ceil(2);
                let residual = wild(batch * rc * rh * rw);
                let (scale, shift) = (numbers(o, 8, false), numbers(o, 9, false));
                let (mut sum, mut activated) = (sums.clone(), sums.clone());
                for (at, (sum, activated)) in Pixel::numbers_mut(&mut sum)
                    .iter_mut()
                    .zip(Pixel::numbers_mut(&mut activated))
                    .enumerate()
                {
                    let (pixel, lane) = (at / LANES, at % LANES);
                    let (plane, place) = (pixel / (oh * ow), pixel % (oh * ow));
                    let (n, channel) = (plane / blocks(o), plane % blocks(o) * LANES + lane);
                    if ending.factor != 1.0 {
                        *sum *= ending.factor;
                    }
                    if ending.residual.is_some() && channel < rc {
                        let (row, column) = (place / ow * stride, place % ow * stride);
                        *sum += residual[((n * rc + channel) * rh + row) * rw + column];
                    } else if ending.residual.is_some() {
                        *sum += 0.0;
                    }
                    if ending.relu && *sum < 0.0 {
                        *sum = 0.0;
                    }
                    let [scale, shift] =
                        [&scale, &shift].map(|v| v.get(channel).copied().unwrap_or(0.0));
                    // Not `max`, which makes zero of what is not a number.
                    *activated = *sum * scale + shift;
                    if *activated < 0.0 {
                        *activated = 0.0;
                    }
                }
                let [out, beside] =
                    run(isa, &threads, algorithm, &conv, ending, &x, &weight).unwrap();
                let expected = if ending.activation { &activated } else { &sum };
                let differs = |a: &[Pixel], b: &[Pixel]| {
                    let mut both = Pixel::numbers(a).iter().zip(Pixel::numbers(b));
                    both.position(|(a, b)| a != b && !(a.is_nan() && b.is_nan()))
                };
                assert_eq!(
                    differs(&out, expected),
                    None,
                    "{isa} {algorithm:?} {ending:?} {conv:?}"
                );
                if ending.sum {
                    assert_eq!(
                        differs(&beside, &sum),
                        None,
                        "{isa} {algorithm:?} {ending:?} {conv:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_residual_of_another_size_is_refused() {
    let [conv, ..] = deep();
    let Conv { batch, output: [o, h, w], .. } = conv;
    let convolution = Convolution::new(Isa::Portable, Algorithm::Direct, &conv).unwrap();
    let threads = Threads::new(1);
    let refuses = |pixels: usize, size: [usize; 2], stride: usize| {
        let zeros = |len: usize| vec![Pixel::ZERO; len];
        let (x, bias, value) =
            (zeros(batch * blocks(272) * h * w), zeros(blocks(o)), zeros(pixels));
        let residual = Some(Added { value: &value, blocks: 1, size, stride });
        let tail = Tail { bias: &bias, factor: 1.0, residual, relu: false, activation: None };
        let (mut y, packed) = (zeros(batch * blocks(o) * h * w), zeros(convolution.packed_len()));
        let outputs = Outputs { out: Destination::whole(&mut y, blocks(o)), sum: None };
        let mut scratch = zeros(convolution.scratch_len(1));
        let x = Input::Pixels(&x);
        let run = || convolution.run(&threads, x, &packed, &tail, outputs, &mut scratch);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err()
    };
    assert!(!refuses(batch * h * w, [h, w], 1));
    assert!(refuses(batch * h * w - 1, [h, w], 1) && refuses(batch * h * w, [h, w], 2));
    assert!(refuses(batch * (h - 1) * w, [h - 1, w], 1) && refuses(batch * h * w, [h, w], 0));
}

/// Lanes that are pixels give the bits of lanes that are outputs, whatever the width and the outputs.
#[test]
fn a_first_layer_of_few_outputs_is_that_of_many() {
    let threads = Threads::new(2);
    let ending = Ending { factor: 0.17, residual: None, relu: true, activation: false, sum: false };
    for isa in Isa::available() {
        for (outputs, width) in (1..=8).zip([5, 16, 17, 28, 33, 48, 64, 70]) {
            for stride in [1, 2] {
                let conv = Conv {
                    batch: 2,
                    input: [1, 9, width],
                    output: [outputs, 8 / stride + 1, (width - 1) / stride + 1],
                    kernel: [3, 3],
                    stride: [stride; 2],
                    pad: [1; 4],
                    dilation: [1, 1],
                    groups: 1,
                };
                let mut x = numbers(2 * 9 * width, 1, true);
                x[width / 2] = f32::NAN;
                let weight = numbers(outputs * 9, 2, false);
                let [first, direct] = [Algorithm::FirstLayer, Algorithm::Direct].map(|algorithm| {
                    let [out, _] =
                        run(isa, &threads, algorithm, &conv, ending, &x, &weight).unwrap();
                    let [_, height, width] = conv.output;
                    let mut numbers = vec![0.0; 2 * outputs * height * width];
                    unpack(&threads, [2, outputs, height * width], &out, &mut numbers);
                    // What is not a number has no sign that counts.
                    let bits = |x: &f32| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() };
                    numbers.iter().map(bits).collect::<Vec<_>>()
                });
                assert!(first.contains(&f32::NAN.to_bits()));
                assert!(first == direct, "{isa} {conv:?}");
            }
        }
    }
}

#[test]
fn pooled_sums_are_the_largest_of_those_written() {
    let mut draws = Draws(17);
    let mut ran = 0;
    for round in 0..rounds(40) {
        let size: [usize; 2] = std::array::from_fn(|_| draws.of(&[2, 4, 6, 14, 18]));
        let conv = Conv {
            input: [draws.of(&[8, 16, 40]), size[0], size[1]],
            output: [draws.of(&[5, 16, 33]), size[0], size[1]],
            kernel: [3, 3],
            stride: [1, 1],
            pad: [1; 4],
            dilation: [1, 1],
            groups: 1,
            batch: 1 + draws.below(3),
        };
        let Conv { batch, input: [c, h, w], output: [o, ..], .. } = conv;
        let mut x = numbers(batch * c * h * w, round, false);
        let wild = draws.below(x.len());
        x[wild] = f32::NAN;
        let weight = numbers(o * c * 9, round + 1000, false);
        let threads = Threads::new(1 + draws.below(3));
        for isa in Isa::available() {
            for algorithm in [Algorithm::Winograd2, Algorithm::Winograd4, Algorithm::Winograd6] {
                let plain = Convolution::new(isa, algorithm, &conv).unwrap();
                let pooled = plain.pooled().unwrap();
                assert!(pooled.pooled().is_none());
                let run = |convolution: &Convolution, area: usize| {
                    let mut packed = vec![Pixel::ZERO; convolution.packed_len()];
                    convolution.pack(&threads, &weight, &mut packed);
                    let mut pixels = vec![Pixel::ZERO; batch * blocks(c) * h * w];
                    pack(&threads, [batch, c, h * w], &x, &mut pixels);
                    let (bias, relu) = (vec![Pixel([0.1; LANES]); blocks(o)], round % 2 == 0);
                    let tail =
                        Tail { bias: &bias, factor: 1.0, residual: None, relu, activation: None };
                    let mut y = vec![Pixel([f32::INFINITY; LANES]); batch * blocks(o) * area];
                    let out = Destination::whole(&mut y, blocks(o));
                    let mut scratch = vec![Pixel::ZERO; convolution.scratch_len(threads.count())];
                    let outputs = Outputs { out, sum: None };
                    let x = Input::Pixels(&pixels);
                    convolution.run(&threads, x, &packed, &tail, outputs, &mut scratch);
                    y
                };
                let (whole, found) = (run(&plain, h * w), run(&pooled, h * w / 4));
                let window = crate::Window {
                    batch,
                    input: [o, h, w],
                    output: [o, h / 2, w / 2],
                    kernel: [2, 2],
                    stride: [2, 2],
                    pad: [0; 4],
                    count_include_pad: false,
                };
                let mut expected = vec![Pixel::ZERO; found.len()];
                let to = Destination::whole(&mut expected, blocks(o));
                max(isa, &threads, &window, &whole, to);
                let same = |(a, b): (&f32, &f32)| a == b || a.is_nan() && b.is_nan();
                let mut both = Pixel::numbers(&found).iter().zip(Pixel::numbers(&expected));
                assert!(both.all(same), "{isa} {algorithm:?} {conv:?}");
                ran += 1;
            }
        }
    }
    assert!(ran > 0);
}
