use striate_graph::op::{Lrn, Tanh};
use striate_graph::{Shape, add, add_scaled, concat};

use super::{Case, case, chw};

/// A case whose result was worked out by hand, so that the interpreter is checked as well.
pub struct Hand {
    /// The network and the number of images.
    pub case: Case,
    /// Parameters by name; those not named are zero, or one for variances.
    pub params: &'static [(&'static str, &'static [f32])],
    /// The images.
    pub images: &'static [f32],
    /// The first output.
    pub expected: &'static [f64],
}

const fn of(
    case: Case,
    params: &'static [(&'static str, &'static [f32])],
    images: &'static [f32],
    expected: &'static [f64],
) -> Hand {
    Hand { case, params, images, expected }
}

/// 1 to 9, a map of 3×3.
const NINE: &[f32] = &[1., 2., 3., 4., 5., 6., 7., 8., 9.];
/// 1 to 12, a map of 3×4.
const TWELVE: &[f32] = &[1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12.];

/// All of them. How a result comes about is written above it.
#[rustfmt::skip]
pub fn hand() -> Vec<Hand> {
    vec![
        // The input is what it was.
        of(case("input", 1, Shape::Flat(2), |x| x), &[], &[3., -4.], &[3., -4.]),
        // A corner of ones is 1+2+4+5 = 12; then 2+3+5+6 = 16, 4+5+7+8 = 24, 5+6+8+9 = 28; bias 0.5.
        of(case("conv: sums of corners", 1, chw(1, 3, 3), |x| x.at("c").conv(2, 1).pad(0)),
           &[("c.weight", &[1.; 4]), ("c.bias", &[0.5])], NINE, &[12.5, 16.5, 24.5, 28.5]),
        // The kernel is not turned round: 1·1 + 2·2 + 3·4 + 4·5 = 37, then each pixel 1 larger adds 10.
        of(case("conv: cross-correlation", 1, chw(1, 3, 3), |x| x.at("c").conv(2, 1).pad(0)),
           &[("c.weight", &[1., 2., 3., 4.])], NINE, &[37., 47., 67., 77.]),
        // Padding of a row above and a column to the left: 4·1; 3·1+4·2; 3·2+4·3 and so on with stride 2:
        // (0,0): 4·1 = 4, (0,1): 3·2 + 4·3 = 18, (1,0): 2·4 + 4·7 = 36, (1,1): 1·5+2·6+3·8+4·9 = 77.
        of(case("conv: top left padding, stride 2", 1, chw(1, 3, 3), |x| x.at("c").conv(2, 1).stride(2).pad([1, 1, 0, 0])),
           &[("c.weight", &[1., 2., 3., 4.])], NINE, &[4., 18., 36., 77.]),
        // Taps two apart are the corners: 1 + 10·3 + 100·7 + 1000·9.
        of(case("conv: dilated", 1, chw(1, 3, 3), |x| x.at("c").conv(2, 1).dilation(2).pad(0)),
           &[("c.weight", &[1., 10., 100., 1000.])], NINE, &[9731.]),
        // Two groups of one channel, two filters each: 2·[1 2], 3·[1 2], 4·[3 4], 5·[3 4].
        of(case("conv: groups", 1, chw(2, 1, 2), |x| x.at("c").conv(1, 4).groups(2).no_bias()),
           &[("c.weight", &[2., 3., 4., 5.])], &[1., 2., 3., 4.], &[2., 4., 3., 6., 12., 16., 15., 20.]),
        // Map 0 reads input 0 alone, map 1 both: 2·5; 3·5 + 4·7. Weight of the missing pair is zero.
        of(case("conv: table", 1, chw(2, 1, 1), |x| x.at("c").conv(1, 2).table(&["XX", ".X"])),
           &[("c.weight", &[2., 0., 3., 4.])], &[5., 7.], &[10., 43.]),
        // [1 2; 3 4; 0 −1]·[5 6] + [0.5 0 1] = [17.5 39 −5].
        of(case("linear", 1, Shape::Flat(2), |x| x.at("l").linear(3)),
           &[("l.weight", &[1., 2., 3., 4., 0., -1.]), ("l.bias", &[0.5, 0., 1.])], &[5., 6.], &[17.5, 39., -5.]),
        of(case("max", 1, chw(1, 3, 4), |x| x.max_pool(2, (1, 2))), &[], TWELVE, &[6., 8., 10., 12.]),
        // Padding is never the maximum, though all values are negative.
        of(case("max: padded", 1, chw(1, 1, 2), |x| x.max_pool(3, 1).pad(1)), &[], &[-5., -7.], &[-5., -5.]),
        // ⌈(4 − 3) / 2⌉ + 1 = 2 columns; the second window holds the columns 2 and 3 alone.
        of(case("max: zeros", 1, chw(1, 1, 2), |x| x.max_pool((1, 2), 1).pad([0, 1, 0, 0]).zero_pad()), &[], &[-5., -7.], &[0., -5.]),
        of(case("max: ceil", 1, chw(1, 3, 4), |x| x.max_pool(3, 2).ceil()), &[], TWELVE, &[11., 12.]),
        // Sums of windows of 3 with a zero on either side: (0+1+2)/3, (1+2+3)/3, (2+3+0)/3, by rows of one.
        of(case("mean: padding counts", 1, chw(1, 1, 3), |x| x.avg_pool((1, 3), 1).pad((0, 1))),
           &[], &[1., 2., 3.], &[1., 2., 5. / 3.]),
        of(case("mean: padding is left", 1, chw(1, 1, 3), |x| x.avg_pool((1, 3), 1).pad((0, 1)).exclude_pad()),
           &[], &[1., 2., 3.], &[1.5, 2., 2.5]),
        // Of width 4 with padding 1 on both sides, windows of 3 by steps of 2: the columns [p 1 2], [2 3 4]
        // and, rounded up, [4 p], which ends with the padding and so counts 2.
        of(case("mean: ceil counts the padding alone", 1, chw(1, 1, 4), |x| x.avg_pool((1, 3), 2).pad((0, 1)).ceil()),
           &[], &[1., 2., 3., 4.], &[1., 3., 2.]),
        // Of 3 rows in 2: rows 0..2 and 1..3; of 4 columns in 3: 0..2, 1..3, 2..4.
        // Mean of 1 2 5 6 is 3.5; one to the right adds 1, one down adds 4.
        of(case("adaptive", 1, chw(1, 3, 4), |x| x.adaptive_avg_pool((2, 3))), &[], TWELVE,
           &[3.5, 4.5, 5.5, 7.5, 8.5, 9.5]),
        // Sums 1+2+3+4 = 10 and 5+6+7+8 = 26: 0.5·10 + 1 and −1·26 + 2.
        of(case("subsample", 1, chw(2, 2, 2), |x| x.at("s").subsample(2, 2)),
           &[("s.weight", &[0.5, -1.]), ("s.bias", &[1., 2.])], &[1., 2., 3., 4., 5., 6., 7., 8.], &[6., -24.]),
        // (x − 1) / √(3 + 1) · 4 + 0.5 = 2 (x − 1) + 0.5; (x − 0) / √(0 + 1) · 1 + 0.
        of(case("norm", 2, chw(2, 1, 1), |x| x.at("n").batch_norm().eps(1.0)),
           &[("n.weight", &[4., 1.]), ("n.bias", &[0.5, 0.]), ("n.running_mean", &[1., 0.]), ("n.running_var", &[3., 0.])],
           &[1., 2., 3., 4.], &[0.5, 2., 4.5, 4.]),
        // (2·x + 1 − 3) / √(3 + 1) · 4 + 1 = 4x − 3; ReLU.
        of(case("norm: folded", 1, chw(1, 1, 2), |x| x.at("c").conv(1, 1).at("n").batch_norm().eps(1.0).relu()),
           &[("c.weight", &[2.]), ("c.bias", &[1.]), ("n.weight", &[4.]), ("n.bias", &[1.]), ("n.running_mean", &[3.]), ("n.running_var", &[3.])],
           &[2., 0.5], &[5., 0.]),
        // Squares 1 4 9; windows 1+4, 1+4+9, 4+9; k + α·sum = 6, 15, 14; β = 1.
        of(case("lrn", 1, chw(3, 1, 1), |x| x.lrn(Lrn { size: 3, alpha: 1.0, divided: false, beta: 1.0, k: 1.0 })),
           &[], &[1., 2., 3.], &[1. / 6., 2. / 15., 3. / 14.]),
        // α is divided by 3: 1 + 3/3·sum, and √ of it: sums 0, 3 of x² = (√3)² alone.
        of(case("lrn: divided", 1, chw(2, 1, 1), |x| x.lrn(Lrn { size: 1, alpha: 3.0, divided: true, beta: 0.5, k: 1.0 })),
           &[], &[0., 1.], &[0., 0.5]),
        // Two maps see, of an even window of 2, the one before: sums 1, 1+4.
        of(case("lrn: even", 1, chw(2, 1, 1), |x| x.lrn(Lrn { size: 2, alpha: 1.0, divided: false, beta: 1.0, k: 1.0 })),
           &[], &[1., 2.], &[1. / 2., 2. / 6.]),
        // Codes (+1, −1) and (−1, −1): (2−1)² + (0+1)² = 2, (2+1)² + (0+1)² = 10.
        of(case("rbf", 1, Shape::Flat(2), |x| x.rbf(vec![vec![true, false], vec![false, false]])),
           &[], &[2., 0.], &[2., 10.]),
        of(case("relu", 1, Shape::Flat(3), |x| x.relu()), &[], &[-1., 0., 2.], &[0., 0., 2.]),
        // a = 1.7159 and s = 2/3 send ±1 to ±1: 1.7159 · tanh(2/3) = 1.7159 · 0.582783.
        of(case("tanh", 1, Shape::Flat(2), |x| x.tanh(Tanh::LECUN)), &[], &[1., 0.], &[0.999_997_6, 0.]),
        // 1/(1 + 1), and 1/(1 + 1/3) at ln 3.
        of(case("sigmoid", 1, Shape::Flat(2), |x| x.sigmoid()), &[], &[0., 1.098_612_3], &[0.5, 0.75]),
        // e⁰ : e^(ln 3) = 1 : 3, for each of two pixels.
        of(case("softmax", 1, chw(2, 1, 2), |x| x.softmax()), &[], &[0., 1.098_612_3, 1.098_612_3, 0.],
           &[0.25, 0.75, 0.75, 0.25]),
        // ln 1/4 and ln 3/4.
        of(case("log softmax", 1, Shape::Flat(2), |x| x.log_softmax()), &[], &[0., 1.098_612_3],
           &[-1.386_294_4, -0.287_682_07]),
        of(case("clip", 1, Shape::Flat(4), |x| x.clip(-1., 6.)), &[], &[-3., -0.5, 6., 7.], &[-1., -0.5, 6., 6.]),
        // Nothing is dropped in inference, nothing is scaled.
        of(case("dropout", 1, Shape::Flat(2), |x| x.dropout(0.5)), &[], &[1., -1.], &[1., -1.]),
        of(case("add", 1, Shape::Flat(2), |x| add(x, x.relu())), &[], &[1., -1.], &[2., -1.]),
        // 1 + 0.5·1, −1 + 0.5·0.
        of(case("add scaled", 1, Shape::Flat(2), |x| add_scaled(x, 0.5, x.relu())), &[], &[1., -1.], &[1.5, -1.]),
        // Channels are joined sample by sample.
        of(case("concat", 2, chw(1, 1, 2), |x| concat(&[x, x.relu()])), &[], &[1., -2., -3., 4.],
           &[1., -2., 1., 0., -3., 4., 0., 4.]),
        // C, H, W order is that of memory.
        of(case("flatten", 1, chw(2, 1, 2), |x| x.flatten()), &[], &[1., 2., 3., 4.], &[1., 2., 3., 4.]),
        // Every second pixel of both axes, and a map of zeros behind.
        of(case("shortcut", 1, chw(1, 3, 4), |x| x.shortcut(2, 2)), &[], TWELVE,
           &[1., 3., 9., 11., 0., 0., 0., 0.]),
    ]
}
