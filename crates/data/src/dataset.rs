use std::sync::Arc;

use md5::{Digest, Md5};
use striate_tensor::Rng;

use crate::DataError;
use crate::picture::Picture;

/// Labelled pictures, counted from 0. Many threads read one at once.
pub trait Dataset: Send + Sync {
    /// How many samples.
    fn len(&self) -> usize;

    /// One sample, decoded but not preprocessed.
    ///
    /// # Errors
    /// [`DataError::Index`] if there is no such sample, and whatever reading it meets.
    fn sample(&self, index: usize) -> Result<Sample, DataError>;

    /// The names of the classes; a label is an index into them.
    fn classes(&self) -> &[String];

    /// Tells these data from others without decoding a picture: the same for the same samples in
    /// the same order, wherever they are kept. It is made of the names of the classes, the labels,
    /// and what else is at hand: names of files, extents.
    fn digest(&self) -> String;

    /// Whether there is no sample.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// MD5 of a sequence of parts, in hexadecimal.
pub(crate) fn digest<P: AsRef<[u8]>>(parts: impl IntoIterator<Item = P>) -> String {
    let mut hash = Md5::new();
    for part in parts {
        // The length first, so that no two sequences run into the same bytes.
        hash.update((part.as_ref().len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex(hash)
}

pub(crate) fn hex(hash: Md5) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A picture and its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The picture as it is stored.
    pub picture: Picture,
    /// Index of the class.
    pub label: u32,
}

impl<D: Dataset + ?Sized> Dataset for Arc<D> {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn sample(&self, index: usize) -> Result<Sample, DataError> {
        (**self).sample(index)
    }

    fn classes(&self) -> &[String] {
        (**self).classes()
    }

    fn digest(&self) -> String {
        (**self).digest()
    }
}

/// Some samples of a data set, in an order of their own.
#[derive(Clone, Debug)]
pub struct Subset<D> {
    dataset: D,
    indices: Vec<usize>,
}

/// The purpose in the key of the random numbers that [`Subset::split`] draws.
const SPLIT: u64 = u64::from_be_bytes(*b"split   ");

impl<D: Dataset> Subset<D> {
    /// The samples of the given indices.
    ///
    /// # Errors
    /// [`DataError::Index`] if the data set does not have one of them.
    pub fn new(dataset: D, indices: Vec<usize>) -> Result<Subset<D>, DataError> {
        let len = dataset.len();
        match indices.iter().find(|&&index| index >= len) {
            Some(&index) => Err(DataError::Index { index, len }),
            None => Ok(Subset { dataset, indices }),
        }
    }

    /// The first `n` samples, or all if there are fewer.
    pub fn first(dataset: D, n: usize) -> Subset<D> {
        let indices = (0..dataset.len().min(n)).collect();
        Subset { dataset, indices }
    }

    /// Parts a data set in two at random: `n` samples (or all) held out, and the others. Each part
    /// is in the order of the data set.
    pub fn split(dataset: D, n: usize, seed: u64) -> [Subset<D>; 2]
    where
        D: Clone,
    {
        let mut indices: Vec<usize> = (0..dataset.len()).collect();
        Rng::keyed(seed, [SPLIT, 0, 0]).shuffle(&mut indices);
        let mut rest = indices.split_off(n.min(indices.len()));
        indices.sort_unstable();
        rest.sort_unstable();
        [Subset { dataset: dataset.clone(), indices }, Subset { dataset, indices: rest }]
    }
}

impl<D: Dataset> Dataset for Subset<D> {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn sample(&self, index: usize) -> Result<Sample, DataError> {
        let len = self.indices.len();
        let original = *self.indices.get(index).ok_or(DataError::Index { index, len })?;
        self.dataset.sample(original)
    }

    fn classes(&self) -> &[String] {
        self.dataset.classes()
    }

    fn digest(&self) -> String {
        let indices = self.indices.iter().map(|&index| (index as u64).to_le_bytes().to_vec());
        digest([self.dataset.digest().into_bytes()].into_iter().chain(indices))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::picture::Colour;

    /// `n` grey pictures of 4×4 pixels, all of the value of their index, label `index mod 2`.
    pub(crate) struct Plain(pub(crate) usize, Vec<String>);

    pub(crate) fn plain(n: usize) -> Arc<Plain> {
        Arc::new(Plain(n, vec!["even".to_owned(), "odd".to_owned()]))
    }

    impl Dataset for Plain {
        fn len(&self) -> usize {
            self.0
        }

        fn sample(&self, index: usize) -> Result<Sample, DataError> {
            if index >= self.0 {
                return Err(DataError::Index { index, len: self.0 });
            }
            let picture = Picture::new([4, 4], Colour::Grey, vec![index as u8; 16])?;
            Ok(Sample { picture, label: index as u32 % 2 })
        }

        fn classes(&self) -> &[String] {
            &self.1
        }

        fn digest(&self) -> String {
            digest([self.0.to_le_bytes()])
        }
    }

    fn values(dataset: &dyn Dataset) -> Vec<u8> {
        (0..dataset.len()).map(|i| dataset.sample(i).unwrap().picture.bytes()[0]).collect()
    }

    #[test]
    fn a_subset_has_the_samples_it_names() {
        let subset = Subset::new(plain(5), vec![4, 1]).unwrap();
        assert_eq!(values(&subset), [4, 1]);
        assert!(matches!(subset.sample(2), Err(DataError::Index { index: 2, len: 2 })));
        assert!(Subset::new(plain(5), vec![5]).is_err());
        let others = [vec![1, 4], vec![4], vec![4, 1, 1]];
        let others = others.map(|indices| Subset::new(plain(5), indices).unwrap().digest());
        assert!(!others.contains(&subset.digest()));
        assert_ne!(Subset::new(plain(6), vec![4, 1]).unwrap().digest(), subset.digest());
        assert_eq!(values(&Subset::first(plain(5), 9)), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn the_parts_of_a_split_are_the_whole() {
        let parts = Subset::split(plain(20), 6, 3);
        let [held, rest] = parts.each_ref().map(|part| values(part));
        assert_eq!((held.len(), rest.len()), (6, 14));
        assert!(held.is_sorted() && held != [0, 1, 2, 3, 4, 5]);
        let mut all = [held, rest].concat();
        all.sort_unstable();
        assert_eq!(all, (0..20).collect::<Vec<u8>>());
    }
}
