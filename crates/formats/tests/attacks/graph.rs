//! Networks that no file could say otherwise: what every reader of one goes through.

use striate_graph::op::{Conv2d, Linear};
use striate_graph::{Graph, Op, Part, Shape};

fn part(name: String, op: Op, inputs: &[usize]) -> Part {
    Part { name, op, inputs: inputs.to_vec() }
}

fn refused(parts: Vec<Part>) -> String {
    let logits = [(String::from("logits"), parts.len() - 1)];
    Graph::assemble(parts, &logits).unwrap_err().to_string()
}

#[test]
fn extents_that_overflow_are_refused() {
    let input = |shape| part(String::from("input"), Op::Input(shape), &[]);
    let (large, most) = (1 << 31, usize::MAX);
    let conv = |out, kernel: (usize, usize)| {
        Op::Conv2d(Conv2d { pad: 0.into(), ..Conv2d::new(kernel.into(), out) })
    };
    for (shape, op, says) in [
        (Shape::map(most, most, most), Op::Relu, "more than 2147483648"),
        (Shape::map(1 << 32, 1 << 32, 1), Op::Relu, "more than 2147483648"),
        (Shape::Flat(large + 1), Op::Relu, "more than 2147483648"),
        (Shape::map(1, 8, 8), conv(large, (1, 1)), "more than 2147483648"),
        (Shape::map(1 << 20, 1, 1), conv(1 << 20, (1, 1)), "more than 2147483648"),
        (Shape::map(1, 8, 8), conv(most, (8, 8)), "more than 2147483648"),
        (Shape::map(1, 8, 8), conv(1, (most, most)), "window over"),
        (
            Shape::Flat(1 << 20),
            Op::Linear(Linear { out: most, bias: true }),
            "more than 2147483648",
        ),
        (Shape::map(0, 8, 8), Op::Relu, "at least 1"),
    ] {
        let error = refused(vec![input(shape), part(String::from("x"), op, &[0])]);
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_node_reads_only_what_is_before_it() {
    let input = || part(String::from("input"), Op::Input(Shape::map(1, 1, 1)), &[]);
    for reads in [1, 2, usize::MAX, 1 << 32] {
        let parts = vec![
            input(),
            part(String::from("a"), Op::Relu, &[reads]),
            part(String::from("b"), Op::Relu, &[1]),
        ];
        let error = refused(parts);
        assert!(error.starts_with("a: an input belongs to another network"), "{error}");
    }
}

/// A million nodes are a large network, not an attack: what is asked of it grows with their number.
#[test]
fn a_million_nodes_have_an_end() {
    let input = part(String::from("0"), Op::Input(Shape::map(1, 1, 1)), &[]);
    let others = (1..1_000_000).map(|i: usize| part(i.to_string(), Op::Relu, &[i - 1]));
    let parts: Vec<Part> = [input].into_iter().chain(others).collect();
    let graph = Graph::assemble(parts, &[(String::from("logits"), 999_999)]).unwrap();
    assert_eq!((graph.nodes().len(), graph.uses().len()), (1_000_000, 1_000_000));
    assert_eq!(graph.total().params, 0);
}
