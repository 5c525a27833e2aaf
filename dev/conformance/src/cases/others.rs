use striate_graph::op::{Lrn, Tanh};
use striate_graph::{Shape, add, add_scaled, concat};

use super::{Case, case, chw};

const ALEXNET: Lrn = Lrn { size: 5, alpha: 1e-4, divided: false, beta: 0.75, k: 2.0 };
const STRONG: Lrn = Lrn { size: 3, alpha: 0.5, divided: true, beta: 0.6, k: 1.0 };

fn codes(count: usize, length: usize) -> Vec<Vec<bool>> {
    (0..count).map(|i| (0..length).map(|j| (i * 7 + j * j) % 3 == 0).collect()).collect()
}

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    case("input alone",            2, chw(2, 3, 3),     |x| x),
    case("linear",                 3, Shape::Flat(37),  |x| x.linear(11)),
    case("linear: one",            1, Shape::Flat(1),   |x| x.linear(1)),
    case("linear: no bias",        2, Shape::Flat(70),  |x| x.linear(25).no_bias()),
    case("linear: deep",           2, Shape::Flat(2500), |x| x.linear(30).relu()),
    case("linear: folded",         3, Shape::Flat(20),  |x| x.linear(8).batch_norm().relu()),
    case("linear: of a map",       2, chw(3, 4, 5),     |x| x.flatten().linear(6)),
    case("norm alone",             2, chw(3, 4, 5),     |x| x.batch_norm().relu()),
    case("norm without scale",     2, chw(3, 4, 5),     |x| x.batch_norm().no_scale().relu()),
    case("norm of a row",          3, Shape::Flat(9),   |x| x.batch_norm().eps(1e-3)),
    case("norm of a flat map",     2, chw(2, 3, 3),     |x| x.conv(3, 2).flatten().batch_norm()),
    case("norm of a dropped map",  2, chw(2, 3, 3),     |x| x.conv(3, 2).dropout(0.5).batch_norm()),
    case("lrn: AlexNet",           2, chw(12, 5, 5),    |x| x.lrn(ALEXNET)),
    case("lrn: strong",            1, chw(7, 4, 3),     |x| x.lrn(STRONG)),
    case("lrn: even",              1, chw(7, 3, 3),     |x| x.lrn(Lrn { size: 4, ..STRONG })),
    case("lrn: wider than it is",  2, chw(3, 3, 3),     |x| x.lrn(Lrn { size: 9, ..STRONG })),
    case("lrn: without end",       1, chw(3, 2, 2),     |x| x.lrn(Lrn { size: usize::MAX, divided: false, ..STRONG })),
    case("lrn: one",               1, chw(3, 3, 3),     |x| x.lrn(Lrn { size: 1, ..STRONG })),
    case("lrn: many pixels",       1, chw(3, 13, 17),   |x| x.lrn(STRONG)),
    case("rbf",                    3, Shape::Flat(21),  |x| x.rbf(codes(10, 21))),
    case("relu",                   2, chw(3, 4, 5),     |x| x.relu()),
    case("relu twice",             2, chw(3, 4, 5),     |x| x.conv(1, 2).relu().relu()),
    case("tanh",                   2, chw(3, 5, 5),     |x| x.tanh(Tanh::LECUN)),
    case("tanh: steep",            2, Shape::Flat(40),  |x| x.tanh(Tanh { a: -2.0, s: 30.0 })),
    case("sigmoid",                2, chw(3, 5, 5),     |x| x.sigmoid()),
    case("clip: ReLU6",            2, chw(3, 5, 5),     |x| x.conv(3, 3).clip(0.0, 0.5)),
    case("clip: not of zero",      20, chw(3, 5, 5),    |x| x.conv(3, 3).clip(0.1, 0.2).conv(1, 3)),
    case("log softmax of a row",   3, Shape::Flat(17),  |x| x.log_softmax()),
    case("log softmax of a map",   20, chw(5, 3, 4),    |x| x.log_softmax()),
    case("softmax of a row",       3, Shape::Flat(17),  |x| x.softmax()),
    case("softmax of a map",       2, chw(5, 3, 4),     |x| x.softmax()),
    case("dropout",                2, chw(2, 3, 3),     |x| x.dropout(0.5)),
    case("flatten",                2, chw(2, 3, 4),     |x| x.flatten()),
    case("add: a residual",        2, chw(3, 5, 5),     |x| add(x.conv(3, 3), x)),
    case("add: ReLU",              3, chw(3, 5, 5),     |x| add(x.conv(3, 3), x.conv(1, 3)).relu()),
    case("add: to itself",         2, chw(3, 5, 5),     |x| { let y = x.conv(3, 3); add(y, y) }),
    case("add: the sum is read twice", 2, chw(3, 5, 5), |x| { let y = add(x.conv(3, 3), x); add(y.relu(), y) }),
    case("add: the input dies",    2, chw(3, 5, 5),     |x| { let y = x.max_pool(3, 1).pad(1); add(x, y) }),
    case("add scaled",             2, chw(3, 5, 5),     |x| add_scaled(x, 0.17, x.conv(3, 3)).relu()),
    case("concat",                 1, chw(3, 5, 5),     |x| concat(&[x.conv(1, 2), x.conv(3, 3), x])),
    case("concat: of batches",     3, chw(3, 5, 5),     |x| concat(&[x.conv(1, 2), x.conv(3, 3), x])),
    case("concat: of rows",        2, Shape::Flat(5),   |x| concat(&[x.linear(3), x.relu(), x])),
    case("concat: of one",         2, chw(3, 5, 5),     |x| concat(&[x.conv(1, 2)]).relu()),
    case("concat: twice the same", 1, chw(3, 5, 5),     |x| { let y = x.conv(1, 2); concat(&[y, y]).relu() }),
    case("concat: ReLU of a part", 1, chw(3, 5, 5),     |x| concat(&[x.max_pool(3, 1).pad(1).relu(), x.conv(3, 2).relu()])),
    case("concat: nested",         1, chw(3, 5, 5),     |x| {
        let y = x.conv(1, 4).relu();
        let y = concat(&[y.conv((1, 3), 2), y.conv((3, 1), 2).relu()]);
        concat(&[x.conv(1, 1), y, add(x.conv(3, 3), x)]).conv(1, 2)
    }),
    case("concat: dense",          1, chw(3, 5, 5),     |x| {
        let y = concat(&[x, x.batch_norm().relu().conv(3, 2)]);
        concat(&[y, y.batch_norm().relu().conv(3, 2)]).global_avg_pool()
    }),
    case("shortcut",               2, chw(3, 5, 7),     |x| x.shortcut(2, 6)),
    case("shortcut: same maps",    1, chw(3, 6, 4),     |x| x.shortcut(3, 3)),
    case("shortcut: option A",     2, chw(3, 6, 6),     |x| {
        add(x.conv(3, 6).stride(2).batch_norm(), x.shortcut(2, 6)).relu()
    }),
];
