//! HDF5 whose structures point where they should not. A small writer makes the files: old groups
//! (a tree, a node of it, a heap of names), as Keras has them, and datasets.

use std::fs;

use striate_formats::list;

use crate::Kind::{Malformed, TooLarge, Unsupported};
use crate::{Attack, harmless, refused};

const NOWHERE: u64 = u64::MAX;

/// A file that grows at its end.
struct File {
    bytes: Vec<u8>,
}

/// A message of an object's header: its type, and what it says.
type Message = (u16, Vec<u8>);

impl File {
    /// With room for the superblock.
    fn new() -> File {
        File { bytes: vec![0; 96] }
    }

    /// Where the next structure will be.
    fn end(&mut self) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        self.bytes.len() as u64
    }

    fn put(&mut self, bytes: &[u8]) -> u64 {
        let at = self.end();
        self.bytes.extend(bytes);
        at
    }

    fn object(&mut self, messages: &[Message]) -> u64 {
        let body = body(messages);
        let head = [
            &[1, 0][..],
            &(messages.len() as u16).to_le_bytes(),
            &1u32.to_le_bytes(),
            &(body.len() as u32).to_le_bytes(),
            &[0; 4],
        ];
        self.put(&[head.concat(), body].concat())
    }

    /// A group of these objects, with more messages in its header.
    fn group(&mut self, members: &[(&str, u64)], more: &[Message]) -> u64 {
        let mut names = vec![0; 8];
        let mut entries = Vec::new();
        for (name, object) in members {
            entries.push((names.len() as u64, *object));
            names.extend(name.as_bytes());
            names.resize((names.len() + 1).next_multiple_of(8), 0);
        }
        self.group_of(&names, &entries, more)
    }

    /// The same of a heap of names, and where in it each object has its own.
    fn group_of(&mut self, names: &[u8], entries: &[(u64, u64)], more: &[Message]) -> u64 {
        let segment = self.put(names);
        let heap = self.put(&heap(names.len() as u64, segment));
        let nodes: Vec<u64> = entries.chunks(30_000).map(|part| self.node(part)).collect();
        let tree = self.put(&tree(0, &nodes));
        let messages = [&[symbols(tree, heap)], more].concat();
        self.object(&messages)
    }

    fn node(&mut self, entries: &[(u64, u64)]) -> u64 {
        let mut node = [&b"SNOD\x01\0"[..], &(entries.len() as u16).to_le_bytes()].concat();
        for (name, object) in entries {
            node.extend(
                [name.to_le_bytes(), object.to_le_bytes(), [0; 8], [0; 8], [0; 8]].concat(),
            );
        }
        self.put(&node)
    }

    /// Groups that Keras's readers look into, one in the other, and in the last the dataset `0`.
    fn holding(mut self, dataset: u64) -> Vec<u8> {
        let vars = self.group(&[("0", dataset)], &[]);
        let dense = self.group(&[("vars", vars)], &[]);
        let layers = self.group(&[("dense", dense)], &[]);
        let root = self.group(&[("layers", layers)], &[]);
        self.finish(root)
    }

    fn finish(mut self, root: u64) -> Vec<u8> {
        let end = self.end();
        let superblock = [
            &b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0\x04\0\x10\0\0\0\0\0"[..],
            &[0; 8],
            &NOWHERE.to_le_bytes(),
            &end.to_le_bytes(),
            &NOWHERE.to_le_bytes(),
            &[0; 8],
            &root.to_le_bytes(),
            &[0; 24],
        ];
        self.bytes[..96].copy_from_slice(&superblock.concat());
        self.bytes
    }
}

fn body(messages: &[Message]) -> Vec<u8> {
    let mut body = Vec::new();
    for (kind, content) in messages {
        let len = content.len().next_multiple_of(8);
        body.extend(
            [&kind.to_le_bytes()[..], &(len as u16).to_le_bytes(), &[0; 4], content].concat(),
        );
        body.resize(body.len() + len - content.len(), 0);
    }
    body
}

fn heap(len: u64, segment: u64) -> Vec<u8> {
    let numbers = [len.to_le_bytes(), NOWHERE.to_le_bytes(), segment.to_le_bytes()].concat();
    [&b"HEAP\0\0\0\0"[..], &numbers].concat()
}

/// A node of the tree of a group; of level 0 over nodes of names, else over nodes like it.
fn tree(level: u8, children: &[u64]) -> Vec<u8> {
    let head = [&b"TREE\0"[..], &[level], &(children.len() as u16).to_le_bytes()].concat();
    let children = children.iter().flat_map(|child| [child.to_le_bytes(), [0; 8]].concat());
    let siblings = [NOWHERE.to_le_bytes(), NOWHERE.to_le_bytes()].concat();
    [head, siblings, vec![0; 8], children.collect()].concat()
}

fn symbols(tree: u64, heap: u64) -> Message {
    (0x11, [tree.to_le_bytes(), heap.to_le_bytes()].concat())
}

fn space(extents: &[u64]) -> Message {
    let extents = extents.iter().flat_map(|n| n.to_le_bytes());
    let rank = extents.clone().count() as u8 / 8;
    (1, [1, rank, 0, 0, 0, 0, 0, 0].into_iter().chain(extents).collect())
}

fn f32s() -> Message {
    (3, vec![0x11, 0x20, 31, 0, 4, 0, 0, 0, 0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0])
}

fn contiguous(address: u64, len: u64) -> Message {
    (8, [&[3, 1][..], &address.to_le_bytes(), &len.to_le_bytes()].concat())
}

/// Chunks of so many values, deflated, at the places that a tree says.
fn chunked(tree: u64, values: u32) -> [Message; 2] {
    let layout = [&[3, 2, 2][..], &tree.to_le_bytes(), &values.to_le_bytes(), &4u32.to_le_bytes()];
    let deflate = [1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0, 0];
    [(8, layout.concat()), (11, deflate.to_vec())]
}

/// The tree of one chunk of `len` bytes.
fn chunk(len: u32, address: u64) -> Vec<u8> {
    let key = |len: u32, from: u64| {
        [&len.to_le_bytes()[..], &[0; 4], &from.to_le_bytes(), &[0; 8]].concat()
    };
    let siblings = [NOWHERE.to_le_bytes(), NOWHERE.to_le_bytes()].concat();
    let head = [&b"TREE\x01\0\x01\0"[..], &siblings].concat();
    [head, key(len, 0), address.to_le_bytes().to_vec(), key(0, u64::MAX)].concat()
}

fn dataset(extents: &[u64], layout: &[Message]) -> Vec<u8> {
    let mut file = File::new();
    file.put(&[0; 64]);
    let object = file.object(&[&[space(extents), f32s()], layout].concat());
    file.holding(object)
}

/// A link of the new kind: its type, and where it leads.
fn link(name: &str, kind: u8, target: &[u8]) -> Message {
    let head = [&[1, 8, kind, name.len() as u8][..], name.as_bytes()].concat();
    (6, [head, (target.len() as u16).to_le_bytes().to_vec(), target.to_vec()].concat())
}

pub(crate) fn attacks() -> Vec<Attack> {
    let follow = "follow it for ever";
    let allocate = "allocate what it claims";
    let mut all = vec![
        harmless(
            "none: what the writer here makes is read",
            "",
            dataset(&[2, 3], &[contiguous(96, 24)]),
            &["layers/dense.weight"],
        ),
        refused("a group in itself", follow, looped(), Malformed, "linked twice"),
        refused("two groups in each other", follow, crossed(), Malformed, "linked twice"),
        refused(
            "groups a thousand deep",
            "overflow its stack",
            deep(),
            TooLarge,
            "32 in each other",
        ),
        refused(
            "a tree in itself",
            follow,
            tree_in_itself(),
            Malformed,
            "an HDF5 file with a mistake",
        ),
        refused(
            "a header that goes on in itself",
            follow,
            continued(),
            Malformed,
            "an HDF5 file with a mistake",
        ),
        refused("a header of 4 GiB", allocate, header_of(u32::MAX), TooLarge, "an HDF5 file"),
        refused(
            "one long name, given to fifty thousand groups",
            "keep each",
            one_name(),
            TooLarge,
            "names of more than",
        ),
        refused(
            "ten thousand groups with one header of a megabyte",
            "keep it for each",
            one_header(),
            TooLarge,
            "read again and again",
        ),
        refused(
            "a heap of names of 2^63 bytes",
            allocate,
            heap_of(1 << 63),
            Malformed,
            "an HDF5 file with a mistake",
        ),
        refused(
            "values beyond the end",
            "read what is behind the file in memory",
            dataset(&[1 << 20], &[contiguous(96, 1 << 22)]),
            Malformed,
            "it to be within the file",
        ),
        refused(
            "values at an address that overflows",
            "add and get 0",
            dataset(&[1 << 20], &[contiguous(u64::MAX - 8, 1 << 22)]),
            Malformed,
            "it to be within the file",
        ),
        refused(
            "extents whose product overflows",
            "multiply them and get 0",
            dataset(&[1 << 32, 1 << 32], &[contiguous(96, 64)]),
            Malformed,
            "a size that a file can have",
        ),
        refused(
            "a dataset of 2^40 values that were never written",
            allocate,
            dataset(&[1 << 29], &[contiguous(NOWHERE, 0)]),
            TooLarge,
            "bytes of compressed values",
        ),
        refused(
            "a chunk that inflates to more than it should",
            "keep it all",
            bomb(),
            Malformed,
            "an HDF5 file with a mistake",
        ),
        refused("chunks of 4 GiB", allocate, chunks(b"", 1 << 30), TooLarge, "an HDF5 file"),
        refused(
            "an index of chunks that leads nowhere",
            "read there",
            dataset(&[4], &chunked(1 << 60, 4)),
            Malformed,
            "an HDF5 file with a mistake",
        ),
        refused(
            "an attribute that is longer than its header",
            "read what is behind it",
            attribute(),
            Malformed,
            "an HDF5 file with a mistake",
        ),
        refused(
            "what is no HDF5 behind its first bytes",
            "trust them",
            &b"\x89HDF\r\n\x1a\nnothing of the kind"[..],
            Malformed,
            "an HDF5 file with a mistake",
        ),
        refused(
            "a root that is nowhere",
            "read there",
            File::new().finish(1 << 40),
            Malformed,
            "an HDF5 file with a mistake",
        ),
    ];
    let elsewhere = [&b"\0/etc/passwd\0/layers\0"[..]].concat();
    for (name, kind, target) in [
        ("an external link to a file that everybody has", 64, elsewhere.as_slice()),
        ("a soft link to itself", 1, b"/layers"),
    ] {
        let mut file = File::new();
        let root = file.object(&[link("layers", kind, target)]);
        all.push(refused(name, "open it", file.finish(root), Unsupported, "without the layers"));
    }
    all
}

fn looped() -> Vec<u8> {
    let mut file = File::new();
    let vars = file.group(&[], &[]);
    let layers = file.group(&[("a", vars), ("b", 0)], &[]);
    let root = file.group(&[("layers", layers)], &[]);
    // The second member is the group itself.
    let node = file.bytes.windows(4).position(|four| four == b"SNOD").unwrap();
    let at = node + 8 + 40 + 8;
    file.bytes[at..at + 8].copy_from_slice(&layers.to_le_bytes());
    file.finish(root)
}

fn crossed() -> Vec<u8> {
    let mut file = File::new();
    let a = file.group(&[("b", 0)], &[]);
    let node = file.bytes.windows(4).position(|four| four == b"SNOD").unwrap();
    let b = file.group(&[("a", a)], &[]);
    file.bytes[node + 16..node + 24].copy_from_slice(&b.to_le_bytes());
    let root = file.group(&[("layers", a)], &[]);
    file.finish(root)
}

fn deep() -> Vec<u8> {
    let mut file = File::new();
    let mut group = file.group(&[], &[]);
    for _ in 0..1000 {
        group = file.group(&[("x", group)], &[]);
    }
    let root = file.group(&[("layers", group)], &[]);
    file.finish(root)
}

fn tree_in_itself() -> Vec<u8> {
    let mut file = File::new();
    let segment = file.put(&[0; 16]);
    let heap = file.put(&heap(16, segment));
    let place = file.end();
    let tree = file.put(&tree(1, &[place]));
    let root = file.object(&[symbols(tree, heap)]);
    file.finish(root)
}

fn continued() -> Vec<u8> {
    let mut file = File::new();
    let place = file.end() + 16;
    let again = (0x10, [place.to_le_bytes(), 24u64.to_le_bytes()].concat());
    let root = file.object(&[again]);
    file.finish(root)
}

fn header_of(len: u32) -> Vec<u8> {
    let mut file = File::new();
    let head = [&[1, 0, 1, 0, 1, 0, 0, 0][..], &len.to_le_bytes(), &[0; 4]].concat();
    let root = file.put(&head);
    file.put(&[0; 1024]);
    file.finish(root)
}

fn one_name() -> Vec<u8> {
    let mut file = File::new();
    let vars = file.group(&[], &[]);
    let name = [&[0; 8][..], &[b'n'; 1 << 20], &[0; 8]].concat();
    let layers = file.group_of(&name, &vec![(8, vars); 50_000], &[]);
    let root = file.group(&[("layers", layers)], &[]);
    file.finish(root)
}

fn one_header() -> Vec<u8> {
    let mut file = File::new();
    let messages: Vec<Message> = (0..17).map(|_| (0, vec![0; 65_528])).collect();
    let shared = body(&messages);
    let place = file.put(&shared);
    let more = (0x10, [place.to_le_bytes(), (shared.len() as u64).to_le_bytes()].concat());
    let groups: Vec<(String, u64)> = (0..10_000)
        .map(|i| (format!("g{i}"), file.object(&[more.clone(), symbols(NOWHERE, NOWHERE)])))
        .collect();
    let groups: Vec<(&str, u64)> = groups.iter().map(|(name, at)| (name.as_str(), *at)).collect();
    let layers = file.group(&groups, &[]);
    let root = file.group(&[("layers", layers)], &[]);
    file.finish(root)
}

fn heap_of(len: u64) -> Vec<u8> {
    let mut file = File::new();
    let segment = file.put(&[0; 16]);
    let heap = file.put(&heap(len, segment));
    let node = file.node(&[(0, 96)]);
    let tree = file.put(&tree(0, &[node]));
    let root = file.object(&[symbols(tree, heap)]);
    file.finish(root)
}

/// Sixteen values, of which there are 4 MiB.
fn bomb() -> Vec<u8> {
    use std::io::{Cursor, Read, Write};
    // The archive's deflate, without its archive, in zlib's wrapping.
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    let options = options.compression_method(zip::CompressionMethod::Deflated);
    zip.start_file("x", options).unwrap();
    zip.write_all(&[0; 4 << 20]).unwrap();
    let archive = zip.finish().unwrap().into_inner();
    let mut archive = zip::ZipArchive::new(Cursor::new(archive)).unwrap();
    let mut raw = Vec::new();
    archive.by_index_raw(0).unwrap().read_to_end(&mut raw).unwrap();
    // Adler's sum of zeros: 1, and 65,521 goes 64 times into their number with 860 left.
    let sum = (((4u32 << 20) % 65_521) << 16 | 1).to_be_bytes();
    chunks(&[&[0x78, 0x9c][..], &raw, &sum].concat(), 16)
}

/// Sixteen values in chunks of so many, of which there is one.
fn chunks(packed: &[u8], values: u32) -> Vec<u8> {
    let mut file = File::new();
    let place = file.put(packed);
    let tree = file.put(&chunk(packed.len() as u32, place));
    let object = file.object(&[&[space(&[16]), f32s()][..], &chunked(tree, values)].concat());
    file.holding(object)
}

fn attribute() -> Vec<u8> {
    let mut file = File::new();
    // A name of 60,000 bytes in a message of sixteen.
    let long = (12, [&[1, 0][..], &60_000u16.to_le_bytes(), &[8, 0, 8, 0], b"layer_na"].concat());
    let root = file.group(&[], &[long]);
    file.finish(root)
}

/// A file with values that another links to, right beside it.
#[test]
fn no_other_file_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret.h5");
    fs::write(&secret, dataset(&[2, 3], &[contiguous(96, 24)])).unwrap();
    assert_eq!(list(&secret).unwrap().tensors.len(), 1);
    let name = secret.to_str().unwrap().as_bytes();

    let mut file = File::new();
    let target = [&[0][..], name, b"\0/layers\0"].concat();
    let root = file.object(&[link("layers", 64, &target)]);
    let linked = file.finish(root);

    // Values in external storage: the first bytes of the other file.
    let mut file = File::new();
    let names = [&[0; 8][..], name, &[0; 8]].concat();
    let segment = file.put(&names);
    let heap = file.put(&heap(names.len() as u64, segment));
    let slot = [8u64.to_le_bytes(), [0; 8], 24u64.to_le_bytes()].concat();
    let list_of = [&[1, 0, 0, 0, 1, 0, 1, 0][..], &heap.to_le_bytes(), &slot].concat();
    let layout = contiguous(NOWHERE, 24);
    let object = file.object(&[space(&[2, 3]), f32s(), layout, (7, list_of)]);
    let stored = file.holding(object);

    for (name, bytes) in [("linked.h5", linked), ("stored.h5", stored)] {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = list(&path).unwrap_err().to_string();
        assert!(!error.contains("layers/dense"), "{name}: {error}");
    }
}
