//! LeNet: the network of 1998 as published, its forerunner of 1989, and what it is usually redrawn
//! as.

use striate_graph::op::Tanh;
use striate_graph::{Graph, GraphError, Init, InputSpec, Naming};

use crate::papers::{LECUN_1990, LECUN_1998};
use crate::{Architecture, Config, DataSet, Edition, Totals, Training};

/// Table I: a row an S2 map, a column a C3 map.
const C3: [&str; 6] = [
    "X...XXX..XXXX.XX",
    "XX...XXX..XXXX.X",
    "XXX...XXX..X.XXX",
    ".XXX..XXXX..X.XX",
    "..XXX..XXXX.XX.X",
    "...XXX..XXXX.XXX",
];

/// §II.B: seven layers; pooling is trained, C3 sees only some maps, the output is a distance to the
/// bitmap of each character.
fn lenet5_1998(config: &Config) -> Result<Graph, GraphError> {
    let squash = Tanh::LECUN;
    Graph::build(config.shape(), |x| {
        let x = x.at("c1").conv(5, 6).pad(0).tanh(squash);
        let x = x.at("s2").subsample(2, 2).tanh(squash);
        let x = x.at("c3").conv(5, 16).pad(0).table(&C3).tanh(squash);
        let x = x.at("s4").subsample(2, 2).tanh(squash);
        let x = x.at("c5").conv(5, 120).pad(0).tanh(squash).flatten();
        let x = x.at("f6").linear(84).tanh(squash);
        x.at("output").rbf(codes(config.classes))
    })
}

/// The network most often drawn under the name: all maps connected, mean pooling, ReLU, a linear
/// output.
fn lenet5(config: &Config) -> Result<Graph, GraphError> {
    Graph::build(config.shape(), |x| {
        let x = x.at("c1").conv(5, 6).pad(0).relu();
        let x = x.at("s2").avg_pool(2, 2);
        let x = x.at("c3").conv(5, 16).pad(0).relu();
        let x = x.at("s4").avg_pool(2, 2);
        let x = x.at("c5").conv(5, 120).pad(0).relu().flatten();
        let x = x.at("f6").linear(84).relu();
        x.at("output").linear(config.classes)
    })
}

/// Eight maps read two S2 maps and four read one, which gives the 512 weights of the paper. Which
/// map reads which is ours: the left six the first two, the right six the last two.
const H3: [&str; 4] = ["XX.XXX......", ".XXXXX......", "......XX.XXX", ".......XXXXX"];

/// LeNet-1: 28×28, four and twelve maps, and the output right behind the last pooling.
fn lenet1(config: &Config) -> Result<Graph, GraphError> {
    let squash = Tanh::LECUN;
    Graph::build(config.shape(), |x| {
        let x = x.at("c1").conv(5, 4).pad(0).tanh(squash);
        let x = x.at("s2").subsample(2, 2).tanh(squash);
        let x = x.at("c3").conv(5, 12).pad(0).table(&H3).tanh(squash);
        let x = x.at("s4").subsample(2, 2).tanh(squash).flatten();
        x.at("output").linear(config.classes)
    })
}

/// The first `classes` characters; there are ten, so more classes are refused where the graph
/// checks its codes against the input.
fn codes(classes: usize) -> Vec<Vec<bool>> {
    let bits = |bitmap: &[&str; 12]| bitmap.concat().chars().map(|c| c == '#').collect();
    let digits = DIGITS.iter().map(bits);
    // A class beyond the digits has no bitmap: an empty code, which `Rbf` refuses. One is enough.
    digits.chain([Vec::new()]).take(classes).collect()
}

/// Stylised digits of 7×12, as Figure 3 shows them; the paper prints the figure alone, so these are
/// drawn anew.
#[rustfmt::skip]
const DIGITS: [[&str; 12]; 10] = [
    ["..###..", ".#####.", "##...##", "##...##", "##...##", "##...##", "##...##", "##...##", "##...##", "##...##", ".#####.", "..###.."],
    ["...##..", "..###..", ".####..", "...##..", "...##..", "...##..", "...##..", "...##..", "...##..", "...##..", ".######", ".######"],
    [".#####.", "#######", "##...##", ".....##", ".....##", "....##.", "...##..", "..##...", ".##....", "##.....", "#######", "#######"],
    ["#######", "#######", "....##.", "...##..", "..####.", "..#####", ".....##", ".....##", ".....##", "##...##", "#######", ".#####."],
    ["....##.", "...###.", "..####.", ".##.##.", "##..##.", "##..##.", "#######", "#######", "....##.", "....##.", "....##.", "....##."],
    ["#######", "#######", "##.....", "##.....", "######.", "#######", ".....##", ".....##", ".....##", "##...##", "#######", ".#####."],
    ["..####.", ".##....", "##.....", "##.....", "##.###.", "#######", "##...##", "##...##", "##...##", "##...##", "#######", ".#####."],
    ["#######", "#######", ".....##", ".....##", "....##.", "....##.", "...##..", "...##..", "..##...", "..##...", ".##....", ".##...."],
    [".#####.", "#######", "##...##", "##...##", ".#####.", ".#####.", "##...##", "##...##", "##...##", "##...##", "#######", ".#####."],
    [".#####.", "#######", "##...##", "##...##", "##...##", "##...##", "#######", ".###.##", ".....##", ".....##", "....##.", ".####.."],
];

const LENET: Architecture = Architecture {
    name: "",
    family: "LeNet",
    edition: Edition::Paper,
    note: "",
    paper: &LECUN_1998,
    data: DataSet::Mnist,
    input: [1, 32, 32],
    net: lenet5,
    init: Init::LeCun,
    training: Training::Digits,
    naming: Naming::NODES,
    also: &[],
    // Background −0.1 and ink 1.175, so that mean and variance are about 0 and 1 (§II.B).
    preparation: || InputSpec::digits(2, 0.1 / 1.275, 1.0 / 1.275),
    totals: Totals { params: 0, macs: 0 },
    pretrained: &[],
};

#[rustfmt::skip]
pub(crate) const ALL: &[Architecture] = &[
    Architecture {
        name: "lenet1", net: lenet1, paper: &LECUN_1990, input: [1, 28, 28],
        note: "28×28, 4 and 12 maps; the wiring of the 12 maps is ours",
        preparation: || InputSpec::digits(0, 0.1 / 1.275, 1.0 / 1.275),
        totals: Totals { params: 2_578, macs: 57_600 + 32_000 + 1_920 }, ..LENET
    },
    Architecture {
        name: "lenet5", net: lenet5, edition: Edition::Modern, init: Init::KaimingFanIn,
        note: "as usually redrawn: full C3, mean pooling, ReLU, linear output",
        totals: Totals { params: 61_706, macs: 416_520 }, ..LENET
    },
    Architecture {
        name: "lenet5_1998", net: lenet5_1998, training: Training::Codes,
        note: "trained pooling, C3 of Table I, scaled tanh, RBF output",
        totals: Totals { params: 60_000, macs: 326_520 }, ..LENET
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use striate_graph::Cost;

    #[test]
    fn lenet1_has_the_counts_of_its_paper() {
        let graph = crate::build("lenet1").unwrap();
        let costs: Vec<Cost> = graph.cost().into_iter().filter(|c| c.connections > 0).collect();
        let params: Vec<u64> = costs.iter().map(|c| c.params).collect();
        let connections: Vec<u64> = costs.iter().map(|c| c.connections).collect();
        assert_eq!(params, [104, 8, 512, 24, 1_930]);
        assert_eq!(connections, [59_904, 2_880, 32_768, 960, 1_930]);
        assert_eq!(graph.total().connections, 98_442);
    }

    #[test]
    fn lenet5_of_1998_has_the_counts_of_its_paper() {
        let total = crate::build("lenet5_1998").unwrap().total();
        assert_eq!((total.params, total.connections), (60_000, 340_908));
    }

    #[test]
    fn digits_are_7_by_12_and_far_apart() {
        let codes = codes(10);
        for (i, a) in codes.iter().enumerate() {
            assert_eq!(a.len(), 84);
            for b in &codes[..i] {
                let apart = a.iter().zip(b).filter(|(x, y)| x != y).count();
                assert!(apart >= 8, "two codes differ in {apart} pixels");
            }
        }
    }

    #[test]
    fn there_is_no_bitmap_for_an_eleventh_class() {
        let entry = crate::find("lenet5_1998").unwrap();
        for classes in [11, usize::MAX] {
            let error = entry.build(&Config { classes, ..entry.config() }).unwrap_err();
            let expected = "output: found more classes than the 10 that have codes: choose";
            assert!(error.to_string().starts_with(expected), "{error}");
        }
    }
}
