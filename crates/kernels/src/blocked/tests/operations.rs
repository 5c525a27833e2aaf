//! Layers that are no convolutions, against the plain kernels and sums of products.

use super::*;

#[test]
fn linear_layers_are_sums_of_products() {
    let pools = [1, 2, 3].map(Threads::new);
    for (pictures, [c, h, w], outputs) in [
        (1, [7, 1, 1], 3),
        (1, [40, 3, 5], 130),
        (2, [33, 2, 2], 64),
        (5, [16, 1, 1], 70),
        (6, [17, 1, 3], 16),
        (7, [33, 2, 2], 64),
        // With weights beyond the second cache, several pieces of them, and groups of two and three blocks at the end.
        (1, [600, 1, 3], 160),
        (4, [600, 1, 3], 176),
        (8, [600, 1, 3], 160),
        (16, [400, 3, 3], 200),
    ] {
        let row = c * h * w;
        let (x, weight) = (numbers(pictures * row, 1, true), numbers(outputs * row, 2, false));
        let bias = numbers(outputs, 3, false);
        let mut pixels = vec![Pixel::ZERO; pictures * blocks(c) * h * w];
        pack(&pools[0], [pictures, c, h * w], &x, &mut pixels);
        let mut bias_pixels = vec![Pixel::ZERO; blocks(outputs)];
        pack(&pools[0], [1, outputs, 1], &bias, &mut bias_pixels);
        for relu in [false, true] {
            let mut first: Option<Vec<u32>> = None;
            for isa in Isa::available() {
                let linear = Linear::new(isa, [c, h, w], outputs);
                let run = |threads: &Threads| {
                    let mut packed = vec![Pixel([f32::NAN; LANES]); linear.packed_len()];
                    linear.pack(threads, &weight, &mut packed);
                    let mut y = vec![Pixel([f32::NAN; LANES]); pictures * blocks(outputs)];
                    let to = Destination::whole(&mut y, blocks(outputs));
                    linear.run(threads, pictures, &pixels, &packed, &bias_pixels, relu, to);
                    y
                };
                let y = run(&pools[0]);
                assert_eq!(bits(&y), bits(&run(&pools[1])));
                assert_eq!(bits(&y), bits(&run(&pools[2])));
                let mut found = vec![0.0; pictures * outputs];
                unpack(&pools[0], [pictures, outputs, 1], &y, &mut found);
                for (at, found) in found.iter().enumerate() {
                    let (picture, output) = (at / outputs, at % outputs);
                    let (x, weight) = (&x[picture * row..][..row], &weight[output * row..][..row]);
                    let product = |(x, w): (&f32, &f32)| f64::from(*x) * f64::from(*w);
                    let sum =
                        x.iter().zip(weight).map(product).sum::<f64>() + f64::from(bias[output]);
                    let size = x.iter().zip(weight).map(product).map(f64::abs).sum::<f64>() + 1.0;
                    let sum = if relu { sum.max(0.0) } else { sum };
                    assert!((f64::from(*found) - sum).abs() <= 5e-7 * size, "{isa} {at}");
                }
                assert!(
                    y.iter()
                        .skip(blocks(outputs) - 1)
                        .step_by(blocks(outputs))
                        .all(|p| { p.0[(outputs - 1) % LANES + 1..].iter().all(|v| *v == 0.0) })
                );
                if isa != Isa::Portable {
                    assert_eq!(*first.get_or_insert_with(|| bits(&y)), bits(&y), "{isa} differs");
                }
            }
        }
    }
}

/// The plain kernels say what each other operation is.
#[test]
fn other_operations_are_those_of_the_plain_kernels() {
    let threads = Threads::new(2);
    let isa = Isa::best();
    let mut draws = Draws(5);
    for round in 0..rounds(60) {
        let pictures = 1 + draws.below(3);
        let c = draws.of(&[1, 6, 15, 16, 17, 40, 64]);
        let [h, w] = std::array::from_fn(|_| 1 + draws.below(9));
        let (area, values) = (h * w, pictures * c * h * w);
        let mut x = numbers(values, round, false);
        if round % 7 == 0 {
            x[values / 2] = f32::NAN;
        }
        let mut pixels = vec![Pixel::ZERO; pictures * blocks(c) * area];
        pack(&threads, [pictures, c, area], &x, &mut pixels);
        let compare = |what: &str, [oc, oarea]: [usize; 2], y: &[Pixel], expected: &[f32]| {
            let mut found = vec![0.0; expected.len()];
            unpack(&threads, [pictures, oc, oarea], y, &mut found);
            for (at, (y, e)) in found.iter().zip(expected).enumerate() {
                let same = (y - e).abs() <= 2e-6 * e.abs().max(1.0) || (y.is_nan() && e.is_nan());
                assert!(same || y == e, "{what} at {at}: {y} for {e}, {pictures}×{c}×{h}×{w}");
            }
            let spare = |(plane, pixel): (usize, &Pixel)| {
                let used = oc.saturating_sub(plane / oarea % blocks(oc) * LANES).min(LANES);
                pixel.0[used..].iter().all(|v| *v == 0.0)
            };
            assert!(y.iter().enumerate().all(spare), "{what}: spare lanes");
        };
        let nan = |len| vec![Pixel([f32::NAN; LANES]); len];

        let k = 1 + draws.below(3);
        let pad = if k > 1 { draws.below(2) } else { 0 };
        let stride = 1 + draws.below(2);
        if h + 2 * pad >= k && w + 2 * pad >= k {
            let to = |side: usize| (side + 2 * pad - k).div_ceil(stride) + 1;
            let fits = |side: usize, out: usize| {
                if (out - 1) * stride >= side + pad { out - 1 } else { out }
            };
            let [oh, ow] = [fits(h, to(h)), fits(w, to(w))];
            let window = crate::Window {
                batch: pictures,
                input: [c, h, w],
                output: [c, oh, ow],
                kernel: [k, k],
                stride: [stride; 2],
                pad: [pad; 4],
                count_include_pad: draws.below(2) == 0,
            };
            let mut expected = vec![0.0; pictures * c * oh * ow];
            let mut y = nan(pictures * blocks(c) * oh * ow);
            crate::pool::max_forward(&threads, &window, &x, &mut expected);
            max(isa, &threads, &window, &pixels, Destination::whole(&mut y, blocks(c)));
            let infinite = |pixel: &mut Pixel| {
                pixel.0.iter_mut().for_each(|v| {
                    if v.is_infinite() {
                        *v = 0.0
                    }
                });
            };
            expected.iter_mut().for_each(|v| {
                if v.is_infinite() {
                    *v = 0.0
                }
            });
            y.iter_mut().for_each(infinite);
            compare("max", [c, oh * ow], &y, &expected);
            crate::pool::average_forward(&threads, &window, &x, &mut expected);
            average(isa, &threads, &window, &pixels, Destination::whole(&mut y, blocks(c)));
            compare("average", [c, oh * ow], &y, &expected);
            let (weight, bias) = (numbers(c, 3, false), numbers(c, 4, false));
            let row = |numbers: &[f32]| {
                let mut row = vec![Pixel::ZERO; blocks(c)];
                pack(&threads, [1, c, 1], numbers, &mut row);
                row
            };
            crate::pool::subsample_forward(&threads, &window, &x, &weight, &bias, &mut expected);
            let to = Destination::whole(&mut y, blocks(c));
            subsample(isa, &threads, &window, &pixels, &row(&weight), &row(&bias), to);
            compare("subsample", [c, oh * ow], &y, &expected);

            let mut expected = vec![0.0; values];
            let mut y = nan(pictures * blocks(c) * area);
            let to = Destination::whole(&mut y, blocks(c));
            affine(isa, &threads, pictures, &pixels, [&row(&weight), &row(&bias)], true, to);
            for (at, (e, x)) in expected.iter_mut().zip(&x).enumerate() {
                let channel = at / area % c;
                *e = x * weight[channel] + bias[channel];
                *e = if *e < 0.0 { 0.0 } else { *e };
            }
            compare("affine", [c, area], &y, &expected);
        }

        let mut y = nan(pictures * blocks(c) * area);
        let mut expected = vec![0.0; values];
        crate::activation::tanh(&threads, 1.7, 0.6, &x, &mut expected);
        tanh(&threads, [pictures, c, area], [1.7, 0.6], &pixels, &mut y);
        compare("tanh", [c, area], &y, &expected);
        crate::activation::sigmoid(&threads, &x, &mut expected);
        sigmoid(&threads, [pictures, c, area], &pixels, &mut y);
        compare("sigmoid", [c, area], &y, &expected);

        let to = [1 + draws.below(h), 1 + draws.below(w)];
        let mut expected = vec![0.0; pictures * c * to[0] * to[1]];
        let mut y = nan(pictures * blocks(c) * to[0] * to[1]);
        crate::pool::adaptive_average_forward(
            &threads,
            pictures * c,
            [h, w],
            to,
            &x,
            &mut expected,
        );
        let into = Destination::whole(&mut y, blocks(c));
        adaptive_average(isa, &threads, pictures, [c, h, w], to, &pixels, into);
        compare("adaptive average", [c, to[0] * to[1]], &y, &expected);

        let mut y = nan(pictures * blocks(c) * area);
        let mut expected = vec![0.0; values];
        let size = draws.of(&[1, 3, 4, 5, 40]);
        let constants = crate::Lrn { size, alpha: 0.3, beta: 0.75, k: 1.5 };
        crate::lrn::forward(&threads, &constants, [pictures, c, area], &x, &mut expected);
        lrn(isa, &threads, &constants, [pictures, c, area], &pixels, &mut y);
        compare("lrn", [c, area], &y, &expected);
        crate::softmax::forward(&threads, [pictures, c, area], &x, &mut expected);
        softmax(&threads, [pictures, c, area], false, &pixels, &mut y);
        compare("softmax", [c, area], &y, &expected);
        crate::softmax::log_forward(&threads, [pictures, c, area], &x, &mut expected);
        softmax(&threads, [pictures, c, area], true, &pixels, &mut y);
        compare("log softmax", [c, area], &y, &expected);
        y.iter_mut().zip(&pixels).for_each(|(y, x)| y.0 = x.0.map(|x| x + 1.0));
        clear_padding([pictures, c, area], &mut y);
        compare("padding", [c, area], &y, &x.iter().map(|x| x + 1.0).collect::<Vec<_>>());

        let mut y = nan(pictures * blocks(c * area));
        flatten(&threads, [pictures, c, area], &pixels, &mut y);
        compare("flatten", [c * area, 1], &y, &x);

        // Three copies, one after the other.
        let all = blocks(3 * c) + 1;
        let mut y = nan(pictures * all * area);
        for part in 0..3 {
            let to = Destination { value: &mut y, blocks: all, at: 1 };
            concat(&threads, [pictures, c, area], &pixels, part * c, to);
        }
        let picture = |picture: &[f32]| picture.repeat(3);
        let expected: Vec<f32> = x.chunks_exact(c * area).flat_map(picture).collect();
        let y: Vec<Pixel> = y.chunks_exact(all * area).flat_map(|y| y[area..].to_vec()).collect();
        compare("concat", [3 * c, area], &y, &expected);

        let stride = 1 + draws.below(3);
        let output = [c + draws.below(20), h.div_ceil(stride), w.div_ceil(stride)];
        let geometry = crate::Shortcut { batch: pictures, input: [c, h, w], output, stride };
        let oarea = output[1] * output[2];
        let mut expected = vec![0.0; pictures * output[0] * oarea];
        crate::shortcut::forward(&threads, &geometry, &x, &mut expected);
        let mut y = nan(pictures * blocks(output[0]) * oarea);
        shortcut(&threads, &geometry, &pixels, Destination::whole(&mut y, blocks(output[0])));
        compare("shortcut", [output[0], oarea], &y, &expected);
    }
}
