//! Programs for Python's pickle machine, in archives as `torch.save` makes them and as it did before.

use crate::Kind::{Foreign, Malformed, TooLarge, Unsupported};
use crate::zip::archive;
use crate::{Attack, harmless, refused};

/// How a file of before PyTorch 1.6 begins, and what it says of the machine.
const LEGACY: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\
    \x80\x02}X\x0d\0\0\0little_endian\x88s.";

fn text(text: &str) -> Vec<u8> {
    [&[b'X'][..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

/// A number of any size.
fn long(number: i64) -> Vec<u8> {
    [&[0x8a, 8][..], &number.to_le_bytes()].concat()
}

fn tuple(numbers: &[i64]) -> Vec<u8> {
    [&b"("[..], &numbers.iter().flat_map(|n| long(*n)).collect::<Vec<_>>(), b"t"].concat()
}

/// The pickle of a dictionary with a tensor `x`, a view of `len` values of storage 0.
fn view(len: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    view_of("0", len, offset, shape, strides)
}

fn view_of(key: &str, len: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let parts = [
        b"\x80\x02}".to_vec(),
        text("x"),
        b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
        text("storage"),
        b"ctorch\nFloatStorage\n".to_vec(),
        text(key),
        text("cpu"),
        long(len),
        b"tQ".to_vec(),
        long(offset),
        tuple(shape),
        tuple(strides),
        b"\x89}tRs.".to_vec(),
    ];
    parts.concat()
}

/// Twelve values of storage 0 behind the pickle.
fn pth(program: &[u8]) -> Vec<u8> {
    archive(&[("x/data.pkl", program), ("x/data/0", &[0; 48])])
}

fn legacy(rest: &[u8]) -> Vec<u8> {
    [LEGACY, rest].concat()
}

pub(crate) fn attacks() -> Vec<Attack> {
    let run = "run it";
    let read = "read memory that is not the storage's";
    let expand = "make a file of a few bytes fill all memory";
    let most = i64::MAX;
    let twice = |i: u8| [b']', b'h', i, b'a', b'h', i, b'a', b'q', i + 1];
    let levels: Vec<u8> = (0..60).flat_map(twice).collect();
    let pairs =
        [&b"ccollections\nOrderedDict\nq\0]"[..], &b"(X\x01\0\0\0aNta".repeat(100)].concat();
    let lists = [&pairs[..], b"\x85q\x01", &b"h\0h\x01R0".repeat(1000), b"."].concat();
    let storage = |len: i64, count: i64| {
        let keys = [&b"]"[..], &text("0"), b"a."].concat();
        legacy(&[&view(len, 0, &[2], &[1])[..], &keys, &count.to_le_bytes(), &[0; 48]].concat())
    };
    let mut all = vec![
        refused("os.system", run, pth(b"cos\nsystem\n(X\x04\0\0\0truetR."), Foreign, "`os.system`"),
        refused(
            "builtins.eval, named on the stack",
            run,
            pth(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R."),
            Foreign,
            "`builtins.eval`",
        ),
        refused(
            "a whole module, as torch.save(model) writes it",
            "import the class, and with it the file that defines it",
            pth(b"\x80\x02ctorch.nn.modules.linear\nLinear\n)\x81}b."),
            Foreign,
            "`torch.nn.modules.linear.Linear`",
        ),
        refused(
            "a chain of calls, each for the next",
            run,
            pth(b"cbuiltins\ngetattr\n(cimportlib\nimport_module\n(X\x02\0\0\0ostRX\x06\0\0\0systemtR."),
            Foreign,
            "`builtins.getattr`, `importlib.import_module`",
        ),
        refused(
            "a class of the file's own, called in the old way",
            run,
            pth(b"(X\x01\0\0\0xios\nsystem\n."),
            Foreign,
            "`os.system`",
        ),
        refused(
            "a name put together as the program runs",
            run,
            pth(b"\x8c\x02os(Nt\x8c\x06system\x93)R."),
            Malformed,
            "a name that is no text",
        ),
        refused(
            "an object that sets its own state",
            "call its __setstate__",
            pth(b"ccollections\nOrderedDict\n)R(K\x01t}b."),
            Unsupported,
            "found an object with a state in its pickle",
        ),
        refused(
            "a command before archives were",
            run,
            legacy(b"\x80\x02cposix\nsystem\n(X\x04\0\0\0truetR."),
            Foreign,
            "`posix.system`",
        ),
        refused(
            "lists of the list before, twice, sixty deep",
            "visit 2^60 lists",
            pth(&[&b"]q\0"[..], &levels, b"."].concat()),
            Unsupported,
            "no dictionary of tensors",
        ),
        refused(
            "dictionaries made of the same list again and again",
            expand,
            pth(&lists),
            Malformed,
            "more entries than bytes",
        ),
        refused(
            "a dictionary in itself",
            "follow it for ever",
            pth(b"}q\0X\x01\0\0\0xh\0s."),
            Unsupported,
            "no dictionary of tensors",
        ),
        refused(
            "a million tuples in each other",
            "overflow the stack of its thread",
            pth(&[&b"N"[..], &vec![0x85; 1_000_000], b"."].concat()),
            Unsupported,
            "no dictionary of tensors",
        ),
        refused(
            "a million marks",
            "overflow the stack of its thread",
            pth(&[b'('; 1_000_000]),
            Malformed,
            "the end of the pickle",
        ),
        refused(
            "five million operations",
            expand,
            pth(&[&b"ccollections\nOrderedDict\nq\0"[..], &b"h\0)R0".repeat(1_300_000), b"}."].concat()),
            TooLarge,
            "a pickle of more than 4194304 operations",
        ),
        refused(
            "a number of 2^31 bytes",
            expand,
            pth(b"\x8b\xff\xff\xff\x7f\x01."),
            Unsupported,
            "operation 0x8b",
        ),
        refused(
            "a text of 2^32 bytes",
            expand,
            pth(b"X\xff\xff\xff\xffa."),
            Malformed,
            "the end of the pickle",
        ),
        refused(
            "a persistent id that is a dictionary",
            "take one thing for another",
            pth(b"}Q."),
            Malformed,
            "an id that is no tuple",
        ),
        refused(
            "a persistent id of numbers",
            "take one thing for another",
            pth(b"(K\x01K\x02K\x03K\x04K\x05tQ."),
            Malformed,
            "an id that is none of a storage",
        ),
        refused(
            "a storage that is another file's",
            "open it",
            pth(&view_of("/etc/passwd", 12, 0, &[2], &[1])),
            Malformed,
            "whose storage is not in the file",
        ),
        refused(
            "before archives, another length of a storage than it has",
            read,
            storage(12, 13),
            Malformed,
            "another length of storage `0`",
        ),
        refused(
            "before archives, a storage of 2^63 values",
            read,
            storage(most, most),
            Malformed,
            "storage `0` of 9223372036854775807 values",
        ),
        refused(
            "before archives, a storage beyond the end of the file",
            read,
            storage(1 << 20, 1 << 20),
            Malformed,
            "storage `0` of 1048576 values",
        ),
    ];
    let views: [(&str, Vec<u8>, &str); 11] = [
        ("a storage that claims more than it has", view(13, 0, &[12], &[1]), "is cut off"),
        ("a storage of a negative length", view(-1, 0, &[1], &[1]), "is cut off"),
        ("a storage of 2^63 values", view(most, 0, &[1], &[1]), "is cut off"),
        ("a view behind the end", view(12, 1, &[12], &[1]), "in a storage of 12 values"),
        ("a view before the beginning", view(12, -1, &[1], &[1]), "of shape [1]"),
        ("a negative extent", view(12, 0, &[-1], &[1]), "of shape [-1]"),
        ("a negative stride", view(12, 11, &[2], &[-1]), "strides [-1]"),
        ("a stride at which addresses overflow", view(12, most, &[2], &[most]), "strides"),
        ("extents whose product overflows", view(12, 0, &[most, most, 4], &[0, 0, 0]), "strides"),
        ("fewer strides than extents", view(12, 0, &[2, 2], &[1]), "strides [1]"),
        ("more axes than anybody has", view(12, 0, &[1; 65], &[1; 65]), "too many axes"),
    ];
    all.extend(
        views
            .into_iter()
            .map(|(name, program, says)| refused(name, read, pth(&program), Malformed, says)),
    );
    all.push(refused(
        "strides of 0, as expand makes them: a million million values, all the same",
        expand,
        pth(&view(12, 0, &[1_000_000, 1_000_000], &[0, 0])),
        Malformed,
        "in a storage of 12 values",
    ));
    all.push(harmless(
        "strides that overlap, within the storage",
        "free one piece of memory twice",
        pth(&view(12, 0, &[3, 4], &[1, 1])),
        &["x"],
    ));
    all
}

/// The program would leave a file behind, were it run.
#[test]
fn nothing_is_executed() {
    let directory = tempfile::tempdir().unwrap();
    let witness = directory.path().join("witness");
    let command = text(&format!("touch {}", witness.display()));
    for call in [&b"cos\nsystem\n("[..], b"cposix\nsystem\n(", b"csubprocess\ngetoutput\n("] {
        let program = [call, &command, b"tR."].concat();
        for file in [pth(&program), legacy(&program)] {
            let path = directory.path().join("weights.pth");
            std::fs::write(&path, file).unwrap();
            assert!(striate_formats::list(&path).is_err() && striate_formats::read(&path).is_err());
            assert!(!witness.exists());
        }
    }
}
