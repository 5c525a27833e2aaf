//! The 1,000 classes of ILSVRC-2012.

use std::sync::LazyLock;

/// Index, WordNet id, short name and words of every class; its first line says whose they are.
const TABLE: &str = include_str!("../assets/imagenet_classes.tsv");

/// A class of ILSVRC-2012.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// From 0 to 999: the position of `wnid` in ASCII order, which is what torchvision's, Keras's
    /// and Caffe's weights count in.
    pub index: usize,
    /// WordNet id: `n` and eight digits, the name of the class's folder.
    pub wnid: &'static str,
    /// A short name that no other class has ("crane bird" and "crane").
    pub name: &'static str,
    /// The synonyms of the WordNet synset, separated by ", ".
    pub words: &'static str,
}

/// The classes in the order of their indices.
pub fn classes() -> &'static [Class] {
    static CLASSES: LazyLock<Vec<Class>> = LazyLock::new(|| {
        let rows = TABLE.lines().filter(|line| !line.starts_with('#'));
        let class = |(index, row): (usize, &'static str)| {
            let mut cells = row.split('\t').skip(1);
            let mut cell = || cells.next().unwrap_or_default();
            Class { index, wnid: cell(), name: cell(), words: cell() }
        };
        rows.enumerate().map(class).collect()
    });
    &CLASSES
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn there_are_a_thousand_in_the_order_of_their_ids() {
        let classes = classes();
        assert_eq!(classes.len(), 1000);
        assert!(classes.is_sorted_by(|a, b| a.wnid < b.wnid));
        let names: HashSet<&str> = classes.iter().map(|class| class.name).collect();
        assert_eq!(names.len(), 1000);
        for class in classes {
            assert!(class.wnid.len() == 9 && !class.words.is_empty(), "{class:?}");
        }
        let rows = TABLE.lines().filter(|line| !line.starts_with('#'));
        for (row, class) in rows.zip(classes) {
            assert_eq!(row.split('\t').next(), Some(class.index.to_string().as_str()));
        }
    }

    #[test]
    fn known_classes_are_where_everybody_has_them() {
        let cases = [(0, "n01440764", "tench"), (285, "n02124075", "Egyptian cat")];
        for (index, wnid, name) in cases {
            let class = classes()[index];
            assert_eq!((class.index, class.wnid, class.name), (index, wnid, name));
        }
    }
}
