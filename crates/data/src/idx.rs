use std::io::{ErrorKind, Read};

use flate2::bufread::MultiGzDecoder;

use crate::DataError;

/// The most values that one IDX file may hold.
pub(crate) const MAX_VALUES: u64 = 1 << 30;

/// An IDX file of unsigned bytes: a magic number, the extents of its axes, the values.
#[derive(Debug)]
pub(crate) struct Idx {
    /// The whole file, unpacked.
    pub(crate) bytes: Vec<u8>,
    /// Extents, the last axis fastest.
    pub(crate) extents: Vec<usize>,
}

impl Idx {
    /// The values, without the header.
    pub(crate) fn values(&self) -> &[u8] {
        &self.bytes[header(self.extents.len())..]
    }

    /// Reads the bytes of a file with the given number of axes, packed with gzip or not.
    pub(crate) fn decode(bytes: &[u8], axes: usize, place: &str) -> Result<Idx, DataError> {
        if bytes.starts_with(&[0x1f, 0x8b]) {
            Idx::read(MultiGzDecoder::new(bytes), axes, place)
        } else {
            Idx::read(bytes, axes, place)
        }
    }

    /// Offsets in messages count unpacked bytes.
    fn read(mut file: impl Read, axes: usize, place: &str) -> Result<Idx, DataError> {
        let malformed = |offset: usize, found: String, expected: String| DataError::Malformed {
            place: format!("{place}, byte {offset}"),
            found,
            expected,
        };
        let broken = |offset: usize, error: &std::io::Error, expected: String| {
            let found = if error.kind() == ErrorKind::UnexpectedEof {
                "the end of the file".to_owned()
            } else {
                format!("damaged gzip data ({error})")
            };
            malformed(offset, found, format!("{expected}: copy or download it again"))
        };

        let mut bytes = Vec::new();
        let header = header(axes);
        let filled = file.by_ref().take(header as u64).read_to_end(&mut bytes);
        let ended = filled
            .and_then(|n| if n < header { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) });
        ended.map_err(|e| broken(bytes.len(), &e, format!("a header of {header} bytes")))?;

        let mut words = bytes.as_chunks().0.iter().map(|&word| u32::from_be_bytes(word));
        let magic = words.next().unwrap_or_default();
        let wanted = 0x0800 + axes as u32;
        if magic != wanted {
            let expected = format!("{wanted:#010x}, IDX of unsigned bytes with {axes} axes");
            return Err(malformed(0, format!("the magic number {magic:#010x}"), expected));
        }
        let extents: Vec<usize> = words.map(|extent| extent as usize).collect();
        let values = extents.iter().try_fold(1u64, |n, &extent| n.checked_mul(extent as u64));
        let Some(values) = values.filter(|&values| values <= MAX_VALUES) else {
            return Err(DataError::TooLarge {
                place: format!("{place}, byte 4"),
                found: format!("a table of {extents:?} bytes"),
                limit: format!("{MAX_VALUES} bytes"),
            });
        };

        // One byte more than there should be: it shows what follows, and makes gzip check its sum.
        let read = file.take(values + 1).read_to_end(&mut bytes);
        let expected = format!("{values} values for the extents {extents:?}");
        read.map_err(|e| broken(bytes.len(), &e, expected.clone()))?;
        let found = (bytes.len() - header) as u64;
        if found < values {
            return Err(broken(bytes.len(), &ErrorKind::UnexpectedEof.into(), expected));
        }
        if found > values {
            return Err(malformed(bytes.len() - 1, "more bytes".to_owned(), expected));
        }
        Ok(Idx { bytes, extents })
    }
}

/// Bytes before the values: the magic number and one word an axis.
fn header(axes: usize) -> usize {
    4 + 4 * axes
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    pub(crate) fn idx(extents: &[u32], values: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, extents.len() as u8];
        bytes.extend(extents.iter().flat_map(|extent| extent.to_be_bytes()));
        bytes.extend(values);
        bytes
    }

    pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn packed_and_unpacked_are_the_same() {
        let plain = idx(&[2, 1, 3], &[1, 2, 3, 4, 5, 6]);
        for bytes in [plain.clone(), gzip(&plain)] {
            let idx = Idx::decode(&bytes, 3, "f").unwrap();
            assert_eq!((&idx.bytes, &idx.extents[..]), (&plain, &[2, 1, 3][..]));
            assert_eq!(idx.values(), [1, 2, 3, 4, 5, 6]);
        }
    }

    #[test]
    fn each_mistake_is_told_with_its_place() {
        let good = idx(&[3], &[1, 2, 3]);
        let packed = gzip(&good);
        let mut damaged = packed.clone();
        let sum = damaged.len() - 8;
        damaged[sum] ^= 1;
        let mut labels_for_images = good.clone();
        labels_for_images[3] = 3;
        let cases: [(&[u8], &str); 8] = [
            (&good[..5], "byte 5: found the end of the file, expected a header of 8 bytes"),
            (&good[..9], "byte 9: found the end of the file, expected 3 values"),
            (&idx(&[3], &[1, 2, 3, 4]), "byte 11: found more bytes, expected 3 values"),
            (&labels_for_images, "byte 0: found the magic number 0x00000803, expected 0x00000801"),
            (&idx(&[u32::MAX], &[]), "byte 4: a table of [4294967295] bytes is too large"),
            (&packed[..packed.len() - 9], "found the end of the file"),
            (&damaged, "damaged gzip data"),
            (&[], "byte 0: found the end of the file"),
        ];
        for (bytes, said) in cases {
            let message = Idx::decode(bytes, 1, "labels").unwrap_err().to_string();
            assert!(message.starts_with("labels, ") && message.contains(said), "{message}\n{said}");
        }
    }

    #[test]
    fn a_bomb_is_unpacked_no_further_than_the_header_says() {
        let bomb = gzip(&idx(&[3], &vec![0; 50 << 20]));
        assert!(Idx::decode(&bomb, 1, "bomb").is_err());
    }
}
