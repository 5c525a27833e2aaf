//! The code of a network, as a person would have written it.

mod common;

use common::{bottlenecks, heading, lenet5, lenet5_1998, snapshot, tower, vgg16};
use striate_graph::{Graph, Naming, Shape, add, concat};
use striate_render::{Framework, Heading, code};

const ALL: [(Framework, &str); 3] =
    [(Framework::PyTorch, "pytorch"), (Framework::Keras, "keras"), (Framework::Burn, "burn")];

#[test]
fn networks() {
    let networks: [(&str, Graph); 5] = [
        ("lenet5", lenet5()),
        ("lenet5_1998", lenet5_1998()),
        ("vgg16", vgg16()),
        ("bottlenecks", bottlenecks([1, 2])),
        ("tower", tower(true)),
    ];
    for (name, graph) in networks {
        for (framework, word) in ALL {
            let text = code(&graph, &heading(name, ""), &Naming::NODES, framework);
            snapshot(&format!("code_{name}_{word}"), &text);
        }
    }
}

/// The lines between two, without the first.
fn between<'t>(text: &'t str, from: &str, to: &str) -> &'t str {
    let start = text.find(from).unwrap_or_else(|| panic!("{from} in\n{text}"));
    let end = text[start..].find(to).map_or(text.len(), |end| start + end);
    &text[start..end]
}

#[test]
fn names_that_are_none_in_the_language_keep_apart() {
    let graph = Graph::build(Shape::map(1, 8, 8), |x| {
        let x = x.at("a/b").conv(3, 2).at("a.b").conv(3, 2).at("forward").conv(3, 2);
        let x = x.at("lambda").conv(3, 2).at("1x1").conv(1, 2).at("b").conv(1, 2);
        x.at("b.c").conv(1, 3).flatten().at("fc").linear(4)
    })
    .unwrap();
    let [pytorch, keras, burn] =
        ALL.map(|(framework, _)| code(&graph, &Heading::default(), &Naming::NODES, framework));
    let names = between(&pytorch, "NAMES", "class");
    for row in [
        r#"(r"^a/b\.", "a.b.")"#,
        r#"(r"^a\.b\.", "a.b_.")"#,
        r#"(r"^forward\.", "forward_.")"#,
        r#"(r"^b\.c\.", "b_c.")"#,
    ] {
        assert!(names.contains(row), "{row} in\n{names}");
    }
    assert!(!names.contains("lambda"), "{names}");
    assert!(pytorch.contains(r#"("1x1", 2)"#), "{pytorch}");
    assert!(pytorch.contains("class Network(nn.Module):"), "{pytorch}");
    assert!(keras.contains(r#"x = conv(x, 2, 1, "1x1")"#), "{keras}");
    let fields = between(&burn, "pub struct", "}");
    for field in ["forward", "lambda", "n1x1", "b", "b_c"] {
        assert!(fields.contains(&format!("    {field}: Conv2d,")), "{field} in\n{fields}");
    }
}

/// Parts of one form, each with two branches.
fn blocks() -> Graph {
    Graph::build(Shape::map(3, 16, 16), |mut x| {
        for (i, (narrow, stride)) in [(8, 1), (8, 2), (16, 1)].into_iter().enumerate() {
            x = x.within(format!("block{i}"), |x| {
                let y = x.at("narrow").conv(1, narrow).relu();
                concat(&[
                    y.at("left").conv(3, 2 * narrow).stride(stride),
                    y.at("right").max_pool(3, stride).pad(1),
                ])
            });
        }
        x.flatten().at("fc").linear(10)
    })
    .unwrap()
}

#[test]
fn parts_of_one_form_are_a_class_and_numbers_that_differ_its_arguments() {
    let graph = blocks();
    let text = code(&graph, &Heading::default(), &Naming::NODES, Framework::PyTorch);
    assert_eq!(text.matches("class ").count(), 2, "{text}");
    let class = between(&text, "class Block", "class Network");
    for line in [
        "def __init__(self, inputs, width, stride=1):",
        "self.stride = stride",
        "self.left = nn.Conv2d(width, 2 * width, 3, stride=stride, padding=1)",
        "z = F.max_pool2d(x, 3, self.stride, padding=1)",
    ] {
        assert!(class.contains(line), "{line} in\n{class}");
    }
    let root = between(&text, "class Network", "def forward");
    assert!(root.contains("self.block0 = Block(3, 8)"), "{root}");
    assert!(root.contains("self.block1 = Block(24, 8, stride=2)"), "{root}");
}

#[test]
fn slashes_part_names_as_dots_do() {
    let [slashed, dotted] = ["/", "."].map(|slash| {
        let graph = Graph::build(Shape::map(3, 16, 16), |x| {
            let mut x = x.at("sole/name".replace('/', slash)).conv(1, 3);
            for block in ["one", "two/in", "two/in/deep"] {
                let at = |layer| format!("{block}/{layer}").replace('/', slash);
                x = x.at(at("narrow")).conv(1, 4).at(at("relu")).relu();
                x = x.at(at("wide")).conv(3, 8);
            }
            x.flatten().at("fc").linear(10)
        });
        let graph = graph.unwrap();
        ALL.map(|(to, _)| code(&graph, &Heading::default(), &Naming::DOTS, to))
    });
    assert_eq!(slashed, dotted);
    assert!(dotted[0].contains("class Block(nn.Module)"), "{}", dotted[0]);
    assert!(dotted[0].contains(r#"self.sole = nn.ModuleDict({"name": "#), "{}", dotted[0]);
    dotted[..2].iter().for_each(|text| assert!(!text.contains("NAMES"), "{text}"));
}

#[test]
fn parts_are_not_called_as_what_the_program_has_already() {
    let graph = Graph::build(Shape::map(3, 8, 8), |x| {
        let x = ["conv1", "layers1", "subsample1", "network1"].iter().fold(x, |x, &name| {
            let x = x.within(name, |x| {
                x.at("a").conv(3, 3).stride(2).at("b").conv(3, 3).at("c").conv(1, 3)
            });
            x.at(format!("{name}_then")).conv(1, 3)
        });
        x.flatten().at("fc").linear(2)
    })
    .unwrap();
    let [pytorch, keras, _] =
        ALL.map(|(framework, _)| code(&graph, &Heading::default(), &Naming::NODES, framework));
    for text in [pytorch, keras] {
        let words = text.lines().filter_map(|line| line.split_once(['(', ':']));
        let made = words
            .map(|(head, _)| head)
            .filter(|head| head.starts_with("class ") || head.starts_with("def "));
        let mut made: Vec<&str> = made.collect();
        let all = made.len();
        made.sort_unstable();
        made.dedup();
        assert_eq!(made.len(), all, "{text}");
        assert!(!text.contains("def layers("), "{text}");
    }
}

#[test]
fn a_part_without_one_input_and_one_output_is_no_class() {
    let graph = Graph::build(Shape::map(4, 8, 8), |x| {
        let y = x.at("two.a").conv(3, 4);
        let z = x.at("two.b").conv(3, 4);
        add(y.at("c").conv(3, 4), z.at("d").conv(3, 4)).flatten().at("fc").linear(2)
    })
    .unwrap();
    let text = code(&graph, &Heading::default(), &Naming::NODES, Framework::PyTorch);
    assert_eq!(text.matches("class ").count(), 1, "{text}");
    assert!(text.contains("self.two = nn.ModuleDict("), "{text}");
    assert!(text.contains("self.c(self.two[\"a\"](x))") || text.contains("self.two[\"a\"](x)"));
    assert!(!text.contains("NAMES"), "{text}");
}

#[test]
fn what_tells_no_classes_apart_takes_none() {
    let graph = Graph::build(Shape::map(3, 8, 8), |x| x.at("c").conv(3, 4).relu().max_pool(8, 8));
    let text = code(&graph.unwrap(), &Heading::default(), &Naming::NODES, Framework::PyTorch);
    // Four maps of one pixel are what four classes are.
    assert!(text.contains("def build(classes=4):"), "{text}");
    let graph = Graph::build(Shape::map(3, 8, 8), |x| x.at("p").max_pool(2, 2)).unwrap();
    let [pytorch, keras, burn] =
        ALL.map(|(framework, _)| code(&graph, &Heading::default(), &Naming::NODES, framework));
    assert!(pytorch.contains("def build():"), "{pytorch}");
    assert!(keras.contains("def build():"), "{keras}");
    assert!(burn.contains("pub fn new(_device: &Device) -> Self {"), "{burn}");
}

#[test]
fn in_rust_a_value_that_is_read_again_is_copied_and_the_last_reader_takes_it() {
    let graph = blocks();
    let text = code(&graph, &Heading::default(), &Naming::NODES, Framework::Burn);
    let class = between(&text, "pub struct Block", "/// Fills");
    for line in [
        "right: MaxPool2d,",
        "pub fn new(inputs: usize, width: usize, stride: usize, device: &Device) -> Self {",
        ".with_stride([stride, stride])",
        "let x = relu(self.narrow.forward(x));",
        "let y = self.left.forward(x.clone());",
        "let z = self.right.forward(x);",
    ] {
        assert!(class.contains(line), "{line} in\n{class}");
    }
    assert!(text.contains("block1: Block::new(24, 8, 2, device),"), "{text}");
}

#[test]
fn in_rust_several_outputs_are_a_tuple_and_names_that_others_have_are_left_to_these() {
    let graph = Graph::build(Shape::map(3, 8, 8), |x| {
        for name in ["linear1", "linear2"] {
            x.within(name, |x| x.at("a").conv(3, 3).at("b").conv(3, 3)).output(name);
        }
        x.at("fc").conv(8, 2).pad(0).flatten()
    })
    .unwrap();
    let text = code(&graph, &Heading::default(), &Naming::NODES, Framework::Burn);
    assert!(text.contains("linear1: LinearBlock,"), "{text}");
    assert!(text.contains("-> (Tensor<2>, Tensor<4>, Tensor<4>) {"), "{text}");
}

#[test]
fn in_rust_a_name_that_another_layer_had_in_the_file_is_not_taken_for_it() {
    let graph = Graph::build(Shape::map(3, 8, 8), |x| {
        x.at("a").conv(3, 3).at("b").conv(3, 3).at("c").conv(8, 2).pad(0)
    })
    .unwrap();
    let names = |rules| {
        let naming = Naming::rules(rules);
        let text = code(&graph, &Heading::default(), &naming, Framework::Burn);
        between(&text, "const NAMES", "];").to_owned()
    };
    // In this order the one is done when the other begins.
    let chain = names(&[("a", "b"), ("b", "d")]);
    assert!(chain.contains(r#"(r"^b\.", "a.")"#), "{chain}");
    let swap = names(&[("a", "b"), ("b", "a")]);
    let rows = [r#"(r"^b\.(\w+)$", "=a.${1}")"#, r#"(r"^a\.(\w+)$", "=b.${1}")"#, r#"("^=", "")"#];
    for row in rows {
        assert!(swap.contains(row), "{row} in\n{swap}");
    }
}
