//! Where each value lies in the one arena that all share.

use std::ops::Range;

use striate_graph::NodeId;
use striate_kernels::blocked::{LANES, blocks};

use super::legs::Leg;
use super::program::{Action, Program};

/// Values begin at multiples of so many pixels, and one more: what lies in the same place of two
/// pages disturbs each other.
const PAGE: usize = 64;

/// When each value is alive and where it lies, by the node that makes it.
///
/// Time 0 feeds the network, time `i + 1` runs step `i`, and the time after the last step hands
/// out what is wanted. Two values that are alive at the same time do not overlap.
#[derive(Clone, Debug)]
pub(crate) struct Placement {
    pub(crate) lives: Vec<Range<usize>>,
    pub(crate) spots: Vec<Spot>,
    /// The concatenation that a value lies in from the start, and from which block on.
    pub(crate) homes: Vec<Option<(NodeId, usize)>>,
    /// Pixels of the arena.
    pub(crate) arena: usize,
}

/// The place of a value: some blocks of channels of a batch of maps, often all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spot {
    /// Pixels of its maps in the arena.
    pub(crate) place: Range<usize>,
    /// Of how many pictures: all of the batch, or those that are in the only leg it is used in.
    pub(crate) pictures: usize,
    /// How many blocks the maps have.
    pub(crate) blocks: usize,
    /// The first that is the value's own.
    pub(crate) at: usize,
}

impl Spot {
    /// Where the maps of some pictures of the batch lie, each of so many pixels.
    pub(crate) fn of(&self, pictures: &Range<usize>, map: usize) -> Range<usize> {
        // Those of the next leg's turn lie where those before did.
        let start = self.place.start + pictures.start % self.pictures.max(1) * map;
        start..start + pictures.len() * map
    }
}

/// Gives every value of a batch a place.
pub(crate) fn place(program: &Program, legs: &[Leg], batch: usize) -> Placement {
    let homes = homes(program);
    let lives = lives(program, &homes);
    let mut whole = spans(&lives, &homes);
    let pictures = pictures(legs, batch, &mut whole);
    let size = |i: usize| match lives[i].is_empty() {
        true => 0,
        false => pictures[i] * pixels(program.extents[i]),
    };

    // Largest first, each at the lowest place that is free for as long as it is needed.
    let mut order: Vec<usize> =
        (0..lives.len()).filter(|&i| size(i) > 0 && homes[i].is_none()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(size(i)), i));
    let mut spots = vec![Spot::default(); lives.len()];
    let mut placed: Vec<usize> = Vec::new();
    for i in order {
        let meets = |other: &&usize| meet(&whole[**other], &whole[i]);
        let taken = placed.iter().filter(meets).map(|&other| spots[other].place.clone());
        let place = lowest(taken.collect(), size(i));
        let blocks = blocks(program.extents[i][0]);
        spots[i] = Spot { place, pictures: pictures[i], blocks, at: 0 };
        placed.push(i);
    }
    // A home comes after its guests.
    for i in (0..lives.len()).rev() {
        if let Some((home, at)) = homes[i] {
            let home = spots[home.index()].clone();
            spots[i] = Spot { at: home.at + at, ..home };
        }
    }
    let arena = spots.iter().map(|spot| spot.place.end).max().unwrap_or(0);
    Placement { lives, spots, homes, arena }
}

/// Pixels of the blocks of a map.
pub(crate) fn pixels([channels, height, width]: [usize; 3]) -> usize {
    blocks(channels) * height * width
}

/// Which values lie within the one they become, and from which block on: the parts of a
/// concatenation, where they fill their blocks.
fn homes(program: &Program) -> Vec<Option<(NodeId, usize)>> {
    let (readers, makers) = (program.readers(), program.makers());
    let mut homes = vec![None; program.extents.len()];
    for step in program.steps.iter().filter(|step| step.action == Action::Concat) {
        let mut channel = 0;
        for &id in &step.inputs {
            let fits =
                makers[id.index()].is_some_and(|maker| program.steps[maker].action.writes_blocks());
            if fits && readers[id.index()] == 1 {
                homes[id.index()] = Some((step.outputs[0], channel / LANES));
            }
            channel += program.extents(id)[0];
        }
        // What does not end with a block would write zeros into its neighbour.
        let whole = step.inputs.iter().all(|&id| program.extents(id)[0].is_multiple_of(LANES));
        if !whole {
            step.inputs.iter().for_each(|id| homes[id.index()] = None);
        }
    }
    homes
}

/// From when a value is written to after it was last read; empty for nodes without a value of their
/// own.
fn lives(program: &Program, homes: &[Option<(NodeId, usize)>]) -> Vec<Range<usize>> {
    let mut lives = vec![0..0; program.extents.len()];
    for (step, time) in program.steps.iter().zip(1..) {
        for id in &step.inputs {
            // What lies within the result ends when the result begins.
            let within = homes[id.index()].is_some();
            lives[id.index()].end = if within { time } else { time + 1 };
        }
        step.outputs.iter().for_each(|id| lives[id.index()] = time..time + 1);
    }
    for (_, id, _) in &program.outputs {
        lives[id.index()].end = program.steps.len() + 2;
    }
    // The images are not in the arena unless they were packed.
    let input = program.input.index();
    if !program.steps.iter().any(|step| step.outputs.contains(&program.input)) {
        lives[input] = 0..0;
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

/// Of how many pictures each value is there, by the time its place is in use. What several legs use
/// is there for the whole batch, and must stay while the other pictures go through them.
fn pictures(legs: &[Leg], batch: usize, spans: &mut [Range<usize>]) -> Vec<usize> {
    // What runs at a time.
    let times = |leg: &Leg| leg.steps.start + 1..leg.steps.end + 1;
    let leg = |time: usize| legs.iter().find(|leg| times(leg).contains(&time));
    let pictures = |span: &mut Range<usize>| {
        let ends = [leg(span.start), leg(span.end.saturating_sub(1))];
        if let [Some(first), Some(last)] = ends
            && first == last
        {
            return first.pictures;
        }
        let [first, last] = ends.map(|leg| leg.filter(|leg| leg.pictures < batch).map(times));
        span.start = first.map_or(span.start, |times| times.start);
        span.end = last.map_or(span.end, |times| times.end);
        batch
    };
    spans.iter_mut().map(pictures).collect()
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
        start = start.max(place.end.next_multiple_of(PAGE) + 1);
    }
    start..start + len
}

#[cfg(test)]
mod tests {
    use super::super::{Options, plan};
    use super::*;
    use striate_graph::{Graph, Shape, Value, concat};

    #[test]
    fn the_lowest_gap_that_is_large_enough() {
        let taken = vec![65..100, 0..16, 32..48];
        assert_eq!(lowest(taken.clone(), 16), 129..145);
        assert_eq!(lowest(vec![], 5), 0..5);
        assert_eq!(lowest(vec![16..32, 140..150], 16), 0..16);
        assert_eq!(lowest(vec![16..32, 140..150], 60), 65..125);
        assert_eq!(lowest(taken, 0), 0..0);
    }

    /// Pixels of the arena for maps of 4×4.
    fn arena(batch: usize, net: impl for<'g> FnOnce(Value<'g>) -> Value<'g>) -> usize {
        let graph = Graph::build(Shape::map(16, 4, 4), net).unwrap();
        plan(&graph, &Options { batch, ..Options::default() }).unwrap().placement.arena
    }

    #[test]
    fn places_are_used_again() {
        // Of a chain two neighbours are alive; places are a page and a pixel apart.
        assert_eq!(arena(1, |x| x.conv(3, 16).conv(3, 16).conv(3, 16).conv(3, 16)), 65 + 16);
        // The parts are written where the whole lies, of one image or of several.
        fn parts(x: Value<'_>) -> Value<'_> {
            concat(&[x.at("a").conv(1, 16), x.at("b").conv(3, 32).relu()]).at("c").conv(1, 16)
        }
        for batch in [1, 2_usize] {
            let whole = batch * 48;
            let beside = whole.next_multiple_of(64) + 1 + batch * 16;
            assert_eq!(arena(batch, parts), beside);
        }
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
