use striate_graph::{Graph, Op};
use striate_tensor::{Tensor, top};

/// What a network says: the outputs of the graph, `logits` first, then its heads, then the kept
/// values by the names of their nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    values: Vec<(String, Tensor)>,
    meaning: Meaning,
}

/// What the first output holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The larger the likelier; probabilities after softmax.
    Logits,
    /// The smaller the likelier.
    Distances,
    /// The network ends in softmax.
    Probabilities,
}

impl Meaning {
    /// What the first output of a graph holds.
    pub(crate) fn of(graph: &Graph) -> Meaning {
        if graph.smallest_wins() {
            Meaning::Distances
        } else if matches!(graph.node(graph.outputs()[0].node).op, Op::Softmax) {
            Meaning::Probabilities
        } else {
            Meaning::Logits
        }
    }
}

impl Outputs {
    /// At least one value.
    pub(crate) fn new(values: Vec<(String, Tensor)>, meaning: Meaning) -> Outputs {
        Outputs { values, meaning }
    }

    /// The first output as the network gives it, `N×classes`.
    pub fn logits(&self) -> &Tensor {
        &self.values[0].1
    }

    /// The value of a name, `N×C×H×W` or `N×C`.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// All values with their names, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The logits, or the negative distances of a network whose smallest output wins: in each row
    /// the largest is the winner.
    pub fn scores(&self) -> Tensor {
        let mut scores = self.logits().clone();
        match self.meaning {
            Meaning::Distances => scores.data_mut().iter_mut().for_each(|v| *v = -*v),
            Meaning::Logits | Meaning::Probabilities => {}
        }
        scores
    }

    /// A probability for each class, row by row: softmax of the [scores](Outputs::scores), unless
    /// the network itself ends in softmax.
    pub fn softmax(&self) -> Tensor {
        let mut scores = self.scores();
        let classes = scores.data().len() / scores.shape()[0];
        match self.meaning {
            Meaning::Logits | Meaning::Distances => {
                scores.data_mut().chunks_exact_mut(classes).for_each(softmax);
            }
            Meaning::Probabilities => {}
        }
        scores
    }

    /// The `k` likeliest classes of each image with their probabilities, the likeliest first; of
    /// equal ones the lower class is first.
    pub fn top(&self, k: usize) -> Vec<Vec<(usize, f32)>> {
        // Ranked by the scores: probabilities may round to the same number.
        let (scores, probabilities) = (self.scores(), self.softmax());
        let rows = scores.rows().zip(probabilities.rows());
        rows.map(|(row, p)| top(row, k).into_iter().map(|class| (class, p[class])).collect())
            .collect()
    }
}

/// `eˣ / Σ eˣ` in place.
fn softmax(row: &mut [f32]) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let power = |x: f32| f64::from(x - largest).exp();
    let sum: f64 = row.iter().map(|&x| power(x)).sum();
    row.iter_mut().for_each(|x| *x = (power(*x) / sum) as f32);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(row: [f32; 3], meaning: Meaning) -> Outputs {
        let value = Tensor::new(&[1, 3], row.to_vec()).unwrap();
        Outputs::new(vec![(String::from("logits"), value)], meaning)
    }

    #[test]
    fn the_likeliest_class_is_that_of_the_network() {
        // e⁰ : e¹ : e³ = 1 : 2.71828 : 20.0855, together 23.8038.
        let (low, middle, high) = (0.042_010, 0.114_195, 0.843_795);
        let cases = [
            (Meaning::Logits, [0.0, 3.0, 1.0], [low, high, middle], [1, 2, 0]),
            (Meaning::Distances, [4.0, 1.0, 3.0], [low, high, middle], [1, 2, 0]),
            (Meaning::Probabilities, [0.25, 0.5, 0.25], [0.25, 0.5, 0.25], [1, 0, 2]),
        ];
        for (meaning, row, expected, order) in cases {
            let outputs = outputs(row, meaning);
            for (p, e) in outputs.softmax().data().iter().zip(expected) {
                assert!((p - e).abs() < 1e-5, "{meaning:?}: {p} instead of {e}");
            }
            let classes: Vec<usize> = outputs.top(9)[0].iter().map(|(class, _)| *class).collect();
            assert_eq!(classes, order, "{meaning:?}");
            assert_eq!(outputs.get("logits"), Some(outputs.logits()));
        }
    }

    #[test]
    fn large_scores_do_not_overflow_and_equal_ones_share() {
        let outputs = outputs([1e30, 1e30, -1e30], Meaning::Logits);
        assert_eq!(outputs.softmax().data(), [0.5, 0.5, 0.0]);
        assert_eq!(outputs.top(1), [[(0, 0.5)]]);
    }
}
