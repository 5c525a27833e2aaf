//! Which names a pickle asks for, whatever else is in it: a walk over its operations that makes
//! nothing. After a name that is not allowed the machine stops; who was sent such a file wants to
//! know them all.

use std::collections::{BTreeMap, HashMap};

use super::pickle::named;

/// The most names that are told.
const MOST: usize = 64;

/// Every name that is not allowed, as `module.name`, in their order, each once. What comes after an
/// operation that does not exist is not seen.
pub(super) fn names(program: &[u8]) -> Vec<String> {
    let mut walk = Walk { program, at: 0, texts: [None, None], memo: HashMap::new(), next: 0 };
    let mut found = BTreeMap::new();
    while found.len() < MOST
        && let Some(step) = walk.step()
    {
        if let Step::Name(module, name) = step
            && named(module, name).is_err()
        {
            let name = format!("{}.{}", module.escape_debug(), name.escape_debug());
            let order = found.len();
            found.entry(name).or_insert(order);
        }
    }
    let mut names: Vec<_> = found.into_iter().collect();
    names.sort_by_key(|(_, order)| *order);
    names.into_iter().map(|(name, _)| name).collect()
}

enum Step<'p> {
    /// A name by its module.
    Name(&'p str, &'p str),
    Other,
}

struct Walk<'p> {
    program: &'p [u8],
    at: usize,
    /// The last two values, where they are texts: of a name that is made from the stack the module
    /// and the rest.
    texts: [Option<&'p str>; 2],
    memo: HashMap<u32, Option<&'p str>>,
    /// The number of the next value that is stored without one.
    next: u32,
}

/// What a name is called that is put together as the program runs.
const MADE: &str = "?";

impl<'p> Walk<'p> {
    fn bytes(&mut self, len: usize) -> Option<&'p [u8]> {
        let bytes = self.program.get(self.at..)?.get(..len)?;
        self.at += len;
        Some(bytes)
    }

    /// A number of that many bytes.
    fn number(&mut self, width: usize) -> Option<usize> {
        let bytes = self.bytes(width)?;
        let number = bytes.iter().rev().fold(0u64, |n, &byte| n << 8 | u64::from(byte));
        usize::try_from(number).ok()
    }

    fn line(&mut self) -> Option<&'p str> {
        let rest = self.program.get(self.at..)?;
        let len = rest.iter().position(|&byte| byte == b'\n')?;
        self.at += len + 1;
        Some(std::str::from_utf8(rest[..len].trim_ascii_end()).unwrap_or(MADE))
    }

    /// A text whose length stands before it.
    fn text(&mut self, width: usize) -> Option<Step<'p>> {
        let len = self.number(width)?;
        let text = std::str::from_utf8(self.bytes(len)?).ok();
        self.push(text);
        Some(Step::Other)
    }

    fn push(&mut self, text: Option<&'p str>) {
        self.texts = [self.texts[1], text];
    }

    fn store(&mut self, key: u32) {
        self.memo.insert(key, self.texts[1]);
    }

    /// One operation, as pickles of all protocols have them.
    fn step(&mut self) -> Option<Step<'p>> {
        let operation = self.number(1)?;
        let operation = u8::try_from(operation).ok()?;
        match operation {
            b'c' | b'i' => {
                let name = Step::Name(self.line()?, self.line()?);
                self.push(None);
                return Some(name);
            }
            0x93 => {
                let [module, name] = self.texts;
                self.push(None);
                return Some(Step::Name(module.unwrap_or(MADE), name.unwrap_or(MADE)));
            }
            0x8c | b'U' => return self.text(1),
            b'X' | b'T' => return self.text(4),
            0x8d => return self.text(8),
            b'V' | b'S' => {
                let line = self.line()?;
                let quoted = line.trim_matches(['\'', '"']);
                self.push(Some(if operation == b'S' { quoted } else { line }));
                return Some(Step::Other);
            }
            // What is stored stays the last value.
            b'q' | b'r' => {
                let key = self.number(if operation == b'q' { 1 } else { 4 })?;
                self.store(u32::try_from(key).ok()?);
                return Some(Step::Other);
            }
            b'p' => {
                if let Ok(key) = self.line()?.parse() {
                    self.store(key);
                }
                return Some(Step::Other);
            }
            0x94 => {
                self.store(self.next);
                self.next = self.next.wrapping_add(1);
                return Some(Step::Other);
            }
            b'h' | b'j' => {
                let key = self.number(if operation == b'h' { 1 } else { 4 })?;
                let known = self.memo.get(&u32::try_from(key).ok()?).copied();
                self.push(known.flatten());
                return Some(Step::Other);
            }
            b'g' => {
                let known = self.line()?.parse().ok().and_then(|key| self.memo.get(&key).copied());
                self.push(known.flatten());
                return Some(Step::Other);
            }
            // Neither a frame nor a protocol is a value.
            0x80 => {
                self.bytes(1)?;
                return Some(Step::Other);
            }
            0x95 => {
                self.bytes(8)?;
                return Some(Step::Other);
            }
            b'I' | b'L' | b'F' | b'P' => drop(self.line()?),
            b'K' | 0x82 => drop(self.bytes(1)?),
            b'M' | 0x83 => drop(self.bytes(2)?),
            b'J' | 0x84 => drop(self.bytes(4)?),
            b'G' => drop(self.bytes(8)?),
            0x8a | b'C' => {
                let len = self.number(1)?;
                self.bytes(len)?;
            }
            0x8b | b'B' => {
                let len = self.number(4)?;
                self.bytes(len)?;
            }
            0x8e | 0x96 => {
                let len = self.number(8)?;
                self.bytes(len)?;
            }
            b'('
            | b')'
            | b'0'..=b'2'
            | b'N'
            | b'Q'
            | b'R'
            | b']'
            | b'}'
            | b'a'
            | b'b'
            | b'd'
            | b'e'
            | b'l'
            | b'o'
            | b's'
            | b't'
            | b'u'
            | 0x81
            | 0x85..=0x89
            | 0x8f..=0x92
            | 0x97
            | 0x98 => {}
            // The end; and what is none of theirs.
            _ => return None,
        }
        self.push(None);
        Some(Step::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_told_once_whatever_stands_between() {
        for (program, expected) in [
            (
                &b"\x80\x02cposix\nsystem\n(X\x02\0\0\0lstR.cnever\nseen\n"[..],
                &["posix.system"][..],
            ),
            (b"ccollections\nOrderedDict\n)R}.", &[]),
            (b"cos\nsystem\ncos\nsystem\ncb\nc\n.", &["os.system", "b.c"]),
            (b"(X\x01\0\0\0xios\nsystem\n.", &["os.system"]),
            // From the stack; from what was stored; and put together.
            (b"\x80\x04\x95abcdefgh\x8c\x02os\x94\x8c\x06system\x94\x93.", &["os.system"]),
            (b"\x8c\x02os\x94\x8c\x06system\x94h\0h\x01\x93.", &["os.system"]),
            (b"X\x02\0\0\0osq\x05S'popen'\np7\n0h\x05g7\n\x93.", &["os.popen"]),
            (b"\x8c\x02os(tR\x8c\x01x\x93.", &["?.x"]),
            // Values of every length between.
            (b"I1\nL2L\nF1.5\nPid\nK1M12J1234G12345678\x8a\x01a\x8b\x01\0\0\0aca\nb\n.", &["a.b"]),
            (b"C\x01aB\x01\0\0\0a\x8e\x01\0\0\0\0\0\0\0a\x96\x01\0\0\0\0\0\0\0aca\nb\n.", &["a.b"]),
            (b"\x8d\x01\0\0\0\0\0\0\0aVb\n\x93\x82a\x83ab\x84abcdcc\nd\n.", &["a.b", "c.d"]),
            // Cut off, or longer than anything.
            (b"ca\nb\ncc", &["a.b"]),
            (b"ca\nb\n\x8d\xff\xff\xff\xff\xff\xff\xff\xff", &["a.b"]),
            (b"ca\nb\n\xffcc\nd\n", &["a.b"]),
        ] {
            assert_eq!(names(program), expected, "{}", program.escape_ascii());
        }
        let many: Vec<u8> = (0..1000).flat_map(|i| format!("cm\nn{i}\n").into_bytes()).collect();
        assert_eq!(names(&many).len(), MOST);
    }
}
