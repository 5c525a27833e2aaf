use super::{Case, case, chw};

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    case("max: 2/2",                2, chw(3, 8, 6),    |x| x.max_pool(2, 2)),
    case("max: odd map",            3, chw(3, 7, 9),    |x| x.max_pool(2, 2)),
    case("max: overlapping",        1, chw(5, 13, 13),  |x| x.max_pool(3, 2)),
    case("max: padded",             2, chw(2, 7, 6),    |x| x.max_pool(3, 2).pad(1)),
    case("max: one side padded",    1, chw(2, 6, 6),    |x| x.max_pool(3, 2).pad([0, 0, 1, 1])),
    case("max: ceil",               1, chw(2, 8, 9),    |x| x.max_pool(3, 2).ceil()),
    case("max: ceil, padded",       2, chw(2, 5, 5),    |x| x.max_pool(2, 3).pad(1).ceil()),
    case("max: uneven",             1, chw(3, 9, 10),   |x| x.max_pool((2, 3), (3, 1)).pad([1, 0, 0, 2])),
    case("max: whole picture",      2, chw(3, 5, 4),    |x| x.max_pool((5, 4), 1)),
    case("max: stride over kernel", 1, chw(1, 9, 9),    |x| x.max_pool(2, 4)),
    case("mean: 2/2",               2, chw(3, 8, 6),    |x| x.avg_pool(2, 2)),
    case("mean: padding counts",    2, chw(2, 6, 7),    |x| x.avg_pool(3, 1).pad(1)),
    case("mean: padding is left",   2, chw(2, 6, 7),    |x| x.avg_pool(3, 1).pad(1).exclude_pad()),
    case("mean: ceil",              1, chw(2, 8, 9),    |x| x.avg_pool(3, 2).ceil()),
    case("mean: ceil counts",       1, chw(2, 6, 6),    |x| x.avg_pool(3, 2).pad(1).ceil()),
    case("mean: ceil, is left",     1, chw(2, 6, 6),    |x| x.avg_pool(3, 2).pad(1).ceil().exclude_pad()),
    case("mean: uneven counts",     3, chw(1, 7, 9),    |x| x.avg_pool((3, 2), (2, 3)).pad([2, 0, 1, 1])),
    case("mean: uneven is left",    3, chw(1, 7, 9),    |x| x.avg_pool((3, 2), (2, 3)).pad([2, 0, 1, 1]).exclude_pad()),
    case("adaptive: global",        3, chw(7, 5, 3),    |x| x.global_avg_pool()),
    case("adaptive: overlapping",   2, chw(3, 7, 5),    |x| x.adaptive_avg_pool((3, 2))),
    case("adaptive: dividing",      1, chw(3, 12, 6),   |x| x.adaptive_avg_pool((6, 3))),
    case("adaptive: larger",        1, chw(2, 2, 3),    |x| x.adaptive_avg_pool(5)),
    case("subsample: 2/2",          2, chw(6, 8, 6),    |x| x.subsample(2, 2)),
    case("subsample: overlapping",  3, chw(3, 7, 5),    |x| x.subsample((3, 2), (2, 1))),
];
