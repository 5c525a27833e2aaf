//! The directory of a zip archive of stored entries, as PyTorch writes it.
//!
//! The crate that reads archives makes the checksums of those it writes as the bytes come, in their
//! order. Here values are written by several threads, and theirs is known at last.

use std::sync::Arc;

use crate::checksum::Checksum;

/// Storages begin at multiples of so many bytes, so that they can be mapped.
const ALIGNMENT: u64 = 64;

/// Where the checksum is in the header of an entry.
const CHECKSUM: u64 = 14;

/// What stands for a number that is too large, and is told among what is extra.
const LARGE: u32 = u32::MAX;

/// What reads entries of any number and size, and what reads no more than 65,534 below 4 GiB.
const VERSIONS: [u16; 2] = [45, 20];

/// The first of January 1980, midnight.
const DATE: [u16; 2] = [0, 0x21];

/// Entries in the order of the file.
#[derive(Default)]
pub(super) struct Directory {
    entries: Vec<Entry>,
}

struct Entry {
    name: String,
    /// Of its bytes.
    len: u64,
    /// Byte of the file with which its header begins.
    at: u64,
    checksum: Arc<Checksum>,
}

impl Directory {
    /// The header of an entry that begins with the `at`-th byte of the file; its `len` bytes follow, and
    /// are to be shown to the checksum.
    pub(super) fn header(&mut self, at: u64, name: String, len: u64) -> (Vec<u8>, Arc<Checksum>) {
        let checksum = Arc::new(Checksum::new(len));
        let entry = Entry { name, len, at, checksum: checksum.clone() };
        let mut extra = entry.extra(&[len, len]);
        // What keeps the place of what is between here and the bytes.
        let begin = at + (30 + entry.name.len() + extra.0.len() + 4) as u64;
        let padding = begin.next_multiple_of(ALIGNMENT) - begin;
        extra.bytes(b"FB").short(padding as u16).bytes(&vec![b'Z'; padding as usize]);
        let mut header = Bytes::default();
        header.bytes(b"PK\x03\x04");
        entry.common(&mut header, &extra);
        header.bytes(entry.name.as_bytes()).bytes(&extra.0);
        self.entries.push(entry);
        (header.0, checksum)
    }

    /// The checksums of all entries, whose bytes they have seen, and where in the file each belongs.
    pub(super) fn checksums(&self) -> impl Iterator<Item = (u64, [u8; 4])> {
        let told = |entry: &Entry| (entry.at + CHECKSUM, entry.checksum.value().to_le_bytes());
        self.entries.iter().map(told)
    }

    /// What begins with the `at`-th byte of the file and ends it.
    pub(super) fn end(&self, at: u64) -> Vec<u8> {
        let mut all = Bytes::default();
        for entry in &self.entries {
            let extra = entry.extra(&[entry.len, entry.len, entry.at]);
            all.bytes(b"PK\x01\x02").short(entry.version());
            entry.common(&mut all, &extra);
            // No comment, the first disk, no attributes.
            all.short(0).short(0).short(0).long(0).long(small(entry.at));
            all.bytes(entry.name.as_bytes()).bytes(&extra.0);
        }
        let (count, len) = (self.entries.len() as u64, all.0.len() as u64);
        let end = at + len;
        if count >= u64::from(u16::MAX) || end >= u64::from(LARGE) {
            all.bytes(b"PK\x06\x06").wide(44).short(VERSIONS[0]).short(VERSIONS[0]);
            all.long(0).long(0).wide(count).wide(count).wide(len).wide(at);
            all.bytes(b"PK\x06\x07").long(0).wide(end).long(1);
        }
        let count = count.min(u64::from(u16::MAX)) as u16;
        all.bytes(b"PK\x05\x06").short(0).short(0).short(count).short(count);
        all.long(small(len)).long(small(at)).short(0);
        all.0
    }
}

impl Entry {
    fn version(&self) -> u16 {
        VERSIONS[usize::from(self.len.max(self.at) < u64::from(LARGE))]
    }

    /// Those of the numbers that are too large.
    fn extra(&self, numbers: &[u64]) -> Bytes {
        let large = numbers.iter().filter(|number| **number >= u64::from(LARGE));
        let mut extra = Bytes::default();
        let count = large.clone().count() as u16;
        if count > 0 {
            extra.short(1).short(8 * count);
            large.for_each(|number| _ = extra.wide(*number));
        }
        extra
    }

    /// What a header and the directory both tell: stored as it is, no flags, and the sizes.
    fn common(&self, to: &mut Bytes, extra: &Bytes) {
        to.short(self.version()).short(0).short(0).short(DATE[0]).short(DATE[1]);
        to.long(self.checksum.value()).long(small(self.len)).long(small(self.len));
        to.short(self.name.len() as u16).short(extra.0.len() as u16);
    }
}

/// The number, or what says that it is elsewhere.
fn small(number: u64) -> u32 {
    number.min(u64::from(LARGE)) as u32
}

/// Little-endian numbers.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn bytes(&mut self, bytes: &[u8]) -> &mut Bytes {
        self.0.extend_from_slice(bytes);
        self
    }

    fn short(&mut self, number: u16) -> &mut Bytes {
        self.bytes(&number.to_le_bytes())
    }

    fn long(&mut self, number: u32) -> &mut Bytes {
        self.bytes(&number.to_le_bytes())
    }

    fn wide(&mut self, number: u64) -> &mut Bytes {
        self.bytes(&number.to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use zip::ZipArchive;

    use super::*;
    use crate::positioned::Positioned;

    /// Entries of so many bytes, in a file that has only the first of them.
    fn check(lens: &[u64]) {
        let file = Positioned::new(tempfile::tempfile().unwrap());
        let mut directory = Directory::default();
        let (mut at, mut sums) = (0, Vec::new());
        for (i, &len) in lens.iter().enumerate() {
            let (header, sum) = directory.header(at, format!("archive/data/{i}"), len);
            file.write_all_at(&header, at).unwrap();
            at += header.len() as u64;
            assert_eq!(at % ALIGNMENT, 0);
            let bytes = vec![i as u8; len.min(9) as usize];
            file.write_all_at(&bytes, at).unwrap();
            sum.part().see(&bytes, 0);
            sums.push(sum.value());
            at += len;
        }
        for (at, sum) in directory.checksums() {
            file.write_all_at(&sum, at).unwrap();
        }
        file.write_all_at(&directory.end(at), at).unwrap();

        let mut zip = ZipArchive::new(file.into_file()).unwrap();
        assert_eq!(zip.len(), lens.len());
        zip.validate_header_consistency().unwrap();
        for (i, (&len, sum)) in lens.iter().zip(sums).enumerate() {
            let mut entry = zip.by_index(i).unwrap();
            assert_eq!(entry.name().unwrap(), format!("archive/data/{i}"));
            assert_eq!((entry.size(), entry.compressed_size(), entry.crc32()), (len, len, sum));
            let mut found = Vec::new();
            entry.by_ref().take(9).read_to_end(&mut found).unwrap();
            assert_eq!(found, vec![i as u8; len.min(9) as usize]);
            if len <= 9 {
                // The checksum is compared at the end.
                assert_eq!(entry.read(&mut [0]).unwrap(), 0);
            }
        }
    }

    #[test]
    fn small_large_and_many_entries_are_read() {
        check(&[]);
        check(&[3, 0, 9, 1]);
        check(&[4, 5 << 30, 2, u64::from(LARGE), 7]);
        check(&vec![1; 66_000]);
    }
}
