//! Lanes that are pictures.

use super::*;

#[test]
fn lanes_that_are_pictures_compute_the_definition() {
    let mut draws = Draws(5);
    let mut ran = 0;
    for round in 0..rounds(120) {
        let count = 1 + draws.below(LANES);
        let conv = Conv { batch: count, ..shape(&mut draws) };
        let Conv { input: [c, h, w], output: [o, oh, ow], kernel: [kh, kw], .. } = conv;
        let alone = Conv { batch: 1, ..conv };
        if PictureConvolution::new(Isa::Portable, &alone).is_none() {
            assert!(conv.groups > 1);
            continue;
        }
        ran += 1;
        let relu = round % 2 == 0;
        let x = numbers(count * c * h * w, round, false);
        let weight = numbers(o * c * kh * kw, round + 1000, false);
        let bias = numbers(o, 7, false);
        let sums = definition(&conv, &x, &weight);
        let most = sums.iter().map(|(_, size)| *size).fold(0.0, f64::max) + 1.0;
        let mut first: Option<Vec<u32>> = None;
        for isa in Isa::available() {
            let convolution = PictureConvolution::new(isa, &alone).unwrap();
            let nan = |len| vec![Pixel([f32::NAN; LANES]); len];
            let mut packed = nan(convolution.packed_len());
            convolution.pack(&weight, &mut packed);
            let mut pixels = nan(c * h * w);
            pack_pictures(&x, &mut pixels);
            let mut bias_pixels = vec![Pixel::ZERO; blocks(o)];
            pack(&Threads::new(1), [1, o, 1], &bias, &mut bias_pixels);
            let (mut y, mut scratch) = (nan(o * oh * ow), nan(convolution.scratch_len()));
            convolution.run(&pixels, &packed, &bias_pixels, relu, &mut y, &mut scratch);
            let mut found = vec![f32::NAN; count * o * oh * ow];
            unpack_pictures(&y, &mut found);
            for (at, (y, (sum, _))) in found.iter().zip(&sums).enumerate() {
                let sum = sum + f64::from(bias[at / (oh * ow) % o]);
                let expected = if relu { sum.max(0.0) } else { sum };
                let error = (f64::from(*y) - expected).abs() / most;
                assert!(error <= 5e-7, "{isa}: {error:e} at {at} of {conv:?}");
            }
            if isa != Isa::Portable {
                let first = first.get_or_insert_with(|| bits(&y));
                assert!(*first == bits(&y), "{isa} differs, {conv:?}");
            }
        }
    }
    assert!(ran >= rounds(40), "{ran}");
}

#[test]
fn what_looks_at_several_channels_of_pictures_is_as_it_is_of_channels() {
    let threads = Threads::new(1);
    for (count, [c, area]) in [(1, [3, 1]), (16, [10, 1]), (5, [7, 6])] {
        let x = numbers(count * c * area, 3, false);
        let (mut pixels, mut y) = (vec![Pixel::ZERO; c * area], vec![Pixel::ZERO; c * area]);
        pack_pictures(&x, &mut pixels);
        let (mut found, mut expected) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        let close = |a: &[f32], b: &[f32]| {
            a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 2e-6 * b.abs().max(1.0))
        };
        type Forward = fn(&Threads, [usize; 3], &[f32], &mut [f32]);
        let forward: [Forward; 2] = [crate::softmax::forward, crate::softmax::log_forward];
        for (log, forward) in [false, true].into_iter().zip(forward) {
            softmax_pictures(area, log, &pixels, &mut y);
            unpack_pictures(&y, &mut found);
            forward(&threads, [count, c, area], &x, &mut expected);
            assert!(close(&found, &expected), "{log} {found:?} {expected:?}");
        }

        let centres = numbers(4 * c * area, 4, false);
        let (mut found, mut expected) = (vec![0.0; count * 4], vec![0.0; count * 4]);
        crate::rbf::forward(&threads, [count, c * area, 4], &x, &centres, &mut expected);
        for isa in Isa::available() {
            let mut y = vec![Pixel::ZERO; 4];
            rbf_pictures(isa, &pixels, &centres, &mut y);
            unpack_pictures(&y, &mut found);
            assert!(close(&found, &expected), "{isa}: {found:?} {expected:?}");
        }
    }
}
