//! Which layer of one network is which of another.

use std::collections::{BTreeMap, HashMap};

use striate_graph::{Graph, Node};

/// Pairs of nodes, looked up from either side.
pub(crate) struct Alignment {
    pub(crate) to_b: Vec<Option<usize>>,
    pub(crate) to_a: Vec<Option<usize>>,
}

/// Cells of the table in which a common subsequence is looked for: networks of 4,096 unmatched
/// layers each. Beyond, only what they begin and end with is compared.
const MOST_CELLS: usize = 1 << 24;

/// First layers of one name. Then, of the others, the longest sequence of equal operations that both
/// have: between two pairs, where a layer only has another name, and anywhere, where it was moved.
/// At last what is left between two pairs, if it is of the same kinds in the same order.
pub(crate) fn align(a: &Graph, b: &Graph) -> Alignment {
    let (a, b) = (a.nodes(), b.nodes());
    let mut pairs = Alignment { to_b: vec![None; a.len()], to_a: vec![None; b.len()] };
    pairs.put(0, 0);
    let named: HashMap<&str, usize> =
        b.iter().enumerate().skip(1).map(|(j, node)| (node.name.as_str(), j)).collect();
    for (i, node) in a.iter().enumerate().skip(1) {
        if let Some(&j) = named.get(node.name.as_str()) {
            pairs.put(i, j);
        }
    }
    for (gap_a, gap_b) in pairs.gaps() {
        pairs.put_equal(a, b, &gap_a, &gap_b);
    }
    pairs.put_equal(a, b, &unpaired(&pairs.to_b), &unpaired(&pairs.to_a));
    for (gap_a, gap_b) in pairs.gaps() {
        let kinds_a = gap_a.iter().map(|&i| a[i].op.kind());
        if kinds_a.eq(gap_b.iter().map(|&j| b[j].op.kind())) {
            gap_a.iter().zip(&gap_b).for_each(|(&i, &j)| pairs.put(i, j));
        }
    }
    pairs
}

impl Alignment {
    fn put(&mut self, i: usize, j: usize) {
        self.to_b[i] = Some(j);
        self.to_a[j] = Some(i);
    }

    /// Pairs the longest sequence of equal operations of some nodes on either side.
    fn put_equal(&mut self, a: &[Node], b: &[Node], some_a: &[usize], some_b: &[usize]) {
        let equal = |i: usize, j: usize| {
            let (a, b) = (&a[some_a[i]], &b[some_b[j]]);
            a.op == b.op && a.shape.channels() == b.shape.channels()
        };
        for (i, j) in common_subsequence(some_a.len(), some_b.len(), equal) {
            self.put(some_a[i], some_b[j]);
        }
    }

    /// What has no partner on either side, behind the same pair.
    fn gaps(&self) -> Vec<(Vec<usize>, Vec<usize>)> {
        let mut gaps_b = gaps(&self.to_a);
        let both = gaps(&self.to_b).into_iter().filter_map(|(before, gap_a)| {
            let gap_b = gaps_b.remove(&self.to_b[before]?)?;
            Some((gap_a, gap_b))
        });
        both.collect()
    }

    /// All pairs, in the order of the first network.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        self.to_b.iter().enumerate().filter_map(|(i, j)| j.map(|j| (i, j)))
    }
}

/// The positions without a partner.
pub(crate) fn unpaired(partners: &[Option<usize>]) -> Vec<usize> {
    partners.iter().enumerate().filter(|(_, j)| j.is_none()).map(|(i, _)| i).collect()
}

/// What has no partner, by the last position before it that has one.
fn gaps(partners: &[Option<usize>]) -> BTreeMap<usize, Vec<usize>> {
    let mut gaps: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut before = 0;
    for (i, partner) in partners.iter().enumerate() {
        match partner {
            Some(_) => before = i,
            None => gaps.entry(before).or_default().push(i),
        }
    }
    gaps
}

/// Positions of a longest common subsequence of two sequences of lengths `n` and `m`.
fn common_subsequence(
    n: usize,
    m: usize,
    equal: impl Fn(usize, usize) -> bool,
) -> Vec<(usize, usize)> {
    let begin = (0..n.min(m)).take_while(|&i| equal(i, i)).count();
    let end = (begin..n.min(m)).take_while(|i| equal(n - 1 - (i - begin), m - 1 - (i - begin)));
    let end = end.count();
    let mut pairs: Vec<(usize, usize)> = (0..begin).map(|i| (i, i)).collect();
    let (rows, columns) = (n - begin - end, m - begin - end);
    if rows.saturating_mul(columns) <= MOST_CELLS {
        let equal = |i: usize, j: usize| equal(begin + i, begin + j);
        let middle = longest(rows, columns, equal);
        pairs.extend(middle.into_iter().map(|(i, j)| (begin + i, begin + j)));
    }
    pairs.extend((0..end).rev().map(|i| (n - 1 - i, m - 1 - i)));
    pairs
}

/// The textbook's table: cell `(i, j)` is how much the rests from `i` and from `j` have in common.
fn longest(
    rows: usize,
    columns: usize,
    equal: impl Fn(usize, usize) -> bool,
) -> Vec<(usize, usize)> {
    let width = columns + 1;
    let mut common = vec![0u32; (rows + 1) * width];
    for i in (0..rows).rev() {
        for j in (0..columns).rev() {
            let (below, beside) = (common[(i + 1) * width + j], common[i * width + j + 1]);
            let both = common[(i + 1) * width + j + 1];
            common[i * width + j] = if equal(i, j) { both + 1 } else { below.max(beside) };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut pairs = Vec::new();
    while i < rows && j < columns {
        if equal(i, j) {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if common[(i + 1) * width + j] >= common[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_common_subsequence_is_found() {
        let cases = [
            ("", "", 0),
            ("abc", "abc", 3),
            ("abcd", "axcd", 3),
            ("abcbdab", "bdcaba", 4),
            ("aaaa", "aa", 2),
            ("abc", "", 0),
        ];
        for (a, b, length) in cases {
            let equal = |i: usize, j: usize| a.as_bytes()[i] == b.as_bytes()[j];
            let pairs = common_subsequence(a.len(), b.len(), equal);
            assert_eq!(pairs.len(), length, "{a} {b}");
            assert!(pairs.iter().all(|&(i, j)| equal(i, j)));
            assert!(pairs.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1));
        }
    }
}
