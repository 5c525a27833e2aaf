//! Where each value lies in the one arena that all share.

use std::ops::Range;

use striate_graph::NodeId;

use super::program::{Action, Program};

/// Values begin at multiples of so many floats: a line of cache.
const ALIGNMENT: usize = 16;

/// When each value is alive and where it lies, by the node that makes it.
///
/// Time 0 feeds the network, time `i + 1` runs step `i`, and the time after the last step hands
/// out what is wanted. Two values that are alive at the same time do not overlap.
#[derive(Clone, Debug)]
pub(crate) struct Placement {
    pub(crate) lives: Vec<Range<usize>>,
    pub(crate) places: Vec<Range<usize>>,
    /// Floats of the arena.
    pub(crate) arena: usize,
}

/// Gives every value of a batch a place.
pub(crate) fn place(program: &Program, batch: usize) -> Placement {
    let homes = homes(program, batch);
    let lives = lives(program, &homes);
    let size = |i: usize| if lives[i].is_empty() { 0 } else { batch * program.volumes[i] };
    let whole = spans(&lives, &homes);

    // Largest first, each at the lowest place that is free for as long as it is needed.
    let mut order: Vec<usize> =
        (0..lives.len()).filter(|&i| size(i) > 0 && homes[i].is_none()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(size(i)), i));
    let mut places = vec![0..0; lives.len()];
    let mut placed: Vec<usize> = Vec::new();
    for i in order {
        let meets = |other: &&usize| meet(&whole[**other], &whole[i]);
        let taken = placed.iter().filter(meets).map(|&other| places[other].clone());
        places[i] = lowest(taken.collect(), size(i));
        placed.push(i);
    }
    // A home comes after its guests.
    for i in (0..lives.len()).rev() {
        if let Some((home, offset)) = homes[i] {
            let start = places[home.index()].start + offset;
            places[i] = start..start + size(i);
        }
    }
    let arena = places.iter().map(|place| place.end).max().unwrap_or(0);
    Placement { lives, places, arena }
}

/// Which values lie within the one they become, and from where on: an operand that dies in an
/// elementwise step, and, of a single image, the parts of a concatenation.
fn homes(program: &Program, batch: usize) -> Vec<Option<(NodeId, usize)>> {
    let readers = program.readers();
    let dies = |id: NodeId| readers[id.index()] == 1;
    let mut homes = vec![None; program.volumes.len()];
    for step in &program.steps {
        match step.action {
            Action::Relu | Action::Add { .. } => {
                if let Some(id) = step.inputs.iter().find(|id| dies(**id)) {
                    homes[id.index()] = Some((step.output, 0));
                }
            }
            Action::Concat if batch == 1 => {
                let mut offset = 0;
                for &id in &step.inputs {
                    if dies(id) {
                        homes[id.index()] = Some((step.output, offset));
                    }
                    offset += program.volume(id);
                }
            }
            Action::Conv(..)
            | Action::Linear { .. }
            | Action::MaxPool(_)
            | Action::AvgPool(_)
            | Action::AdaptiveAvgPool { .. }
            | Action::Subsample(_)
            | Action::BatchNorm { .. }
            | Action::Lrn { .. }
            | Action::Rbf { .. }
            | Action::Tanh { .. }
            | Action::Sigmoid
            | Action::Softmax { .. }
            | Action::AddScaled(_)
            | Action::Concat
            | Action::Shortcut(_) => {}
        }
    }
    homes
}

/// From when a value is written to after it was last read; empty for nodes without a value of their
/// own.
fn lives(program: &Program, homes: &[Option<(NodeId, usize)>]) -> Vec<Range<usize>> {
    let mut lives = vec![0..0; program.volumes.len()];
    lives[program.input.index()] = 0..1;
    for (step, time) in program.steps.iter().zip(1..) {
        for id in &step.inputs {
            // What lies within the result ends when the result begins.
            let within = homes[id.index()].is_some();
            lives[id.index()].end = if within { time } else { time + 1 };
        }
        lives[step.output.index()] = time..time + 1;
    }
    for (_, id, _) in &program.outputs {
        lives[id.index()].end = program.steps.len() + 2;
    }
    lives
}

/// From when to when the place of a value is in use, by itself or by what lies within it.
fn spans(lives: &[Range<usize>], homes: &[Option<(NodeId, usize)>]) -> Vec<Range<usize>> {
    let mut spans = lives.to_vec();
    for (i, home) in homes.iter().enumerate() {
        if let Some((home, _)) = home {
            spans[home.index()].start = spans[home.index()].start.min(spans[i].start);
        }
    }
    spans
}

fn meet(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

/// The lowest place of a length that meets none of those taken.
fn lowest(mut taken: Vec<Range<usize>>, len: usize) -> Range<usize> {
    taken.sort_by_key(|place| place.start);
    let mut start = 0;
    for place in taken {
        if start + len <= place.start {
            break;
        }
        start = start.max(place.end.next_multiple_of(ALIGNMENT));
    }
    start..start + len
}

#[cfg(test)]
mod tests {
    use super::super::{Options, plan};
    use super::*;
    use striate_graph::{Graph, Shape, Value, add, concat};

    #[test]
    fn the_lowest_gap_that_is_large_enough() {
        let taken = vec![64..100, 0..16, 32..48];
        assert_eq!(lowest(taken.clone(), 16), 16..32);
        assert_eq!(lowest(taken.clone(), 17), 112..129);
        assert_eq!(lowest(vec![], 5), 0..5);
        assert_eq!(lowest(vec![16..32, 40..50], 16), 0..16);
        assert_eq!(lowest(taken, 0), 0..0);
    }

    /// Floats of the arena for 1×4×4 images, whose every map is a line of cache.
    fn arena(batch: usize, net: impl for<'g> FnOnce(Value<'g>) -> Value<'g>) -> usize {
        let graph = Graph::build(Shape::map(1, 4, 4), net).unwrap();
        plan(&graph, &Options { batch, ..Options::default() }).unwrap().placement.arena
    }

    #[test]
    fn places_are_used_again() {
        // Of a chain two neighbours are alive.
        assert_eq!(arena(1, |x| x.conv(3, 1).conv(3, 1).conv(3, 1).conv(3, 1)), 2 * 16);
        // The branch is added onto in place; with the input of the block that makes two.
        assert_eq!(arena(1, |x| add(x.conv(3, 1), x).relu()), 2 * 16);
        // The parts are written where the whole lies: 16 of the input, 48 of the result.
        assert_eq!(arena(1, |x| concat(&[x.conv(1, 1), x.at("b").conv(3, 2).relu()])), 64);
        // Two images need copies: the input, the parts and the whole are alive in turn.
        assert_eq!(arena(2, |x| concat(&[x.conv(1, 1), x.at("b").conv(3, 2).relu()])), 192);
    }

    #[test]
    fn a_place_in_use_by_a_part_is_in_use() {
        let homes = [None, Some((id(2), 0)), None];
        assert_eq!(spans(&[0..1, 2..5, 5..7], &homes), [0..1, 2..5, 2..7]);
    }

    fn id(index: usize) -> NodeId {
        let graph = Graph::build(Shape::Flat(1), |x| x.relu().relu()).unwrap();
        graph.iter().nth(index).unwrap().0
    }
}
