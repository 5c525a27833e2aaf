//! protobuf's wire format, read where it lies: of a field of values only its place is noted.
//!
//! The messages are those of a [`Schema`], in which none is in itself: nesting has an end. What a
//! schema does not know is skipped.

use std::io::{BufReader, Read, Seek};

use super::message::{Message, Value};
use crate::limits::{self, Room};
use crate::{Dtype, FormatError};

/// The fields of a message that are read: number, name, and what it holds.
pub(crate) type Schema = [(u64, &'static str, Kind)];

/// What a field holds, one of them or many.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// A whole number.
    Whole,
    Float,
    /// One of the names, by its number.
    Word(&'static [(u64, &'static str)]),
    Text,
    Message(&'static Schema),
    /// Values of a tensor, packed or one by one.
    Values(Dtype),
    /// What only its place is noted of.
    Bytes,
}

pub(crate) const FLAG: Kind = Kind::Word(&[(0, "false"), (1, "true")]);

/// The most bytes of memory that a field takes, beside its text.
const FIELD: u64 = 128;

/// A file that is read from its first byte to its last.
pub(crate) struct Wire<'p, R> {
    source: BufReader<R>,
    place: &'p str,
    room: &'p Room,
    at: u64,
    fields: usize,
}

impl<'p, R: Read + Seek> Wire<'p, R> {
    pub(crate) fn new(source: R, place: &'p str, room: &'p Room) -> Wire<'p, R> {
        Wire { source: BufReader::new(source), place, room, at: 0, fields: 0 }
    }

    /// The message from here to `end`.
    pub(crate) fn message(&mut self, schema: &Schema, end: u64) -> Result<Message, FormatError> {
        let mut message = Message::default();
        while self.at < end {
            let start = self.at;
            let key = self.varint(end)?;
            let (number, form) = (key >> 3, key & 7);
            let known = schema.iter().find(|(known, ..)| *known == number);
            let known = known.map(|(_, name, kind)| (*name, *kind));
            if known.is_some() {
                self.count()?;
            }
            match (form, known) {
                (0, None) => drop(self.varint(end)?),
                (0, Some((name, kind))) => {
                    let value = whole(kind, self.varint(end)?);
                    message.push(name, value.ok_or_else(|| self.wrong(start, name))?);
                }
                (1, None) => self.skip(8, end)?,
                (1, Some((name, Kind::Values(Dtype::F64)))) => {
                    let bytes: [u8; 8] = self.fixed(end)?;
                    self.append(&mut message, name, Dtype::F64, &bytes);
                }
                (5, None) => self.skip(4, end)?,
                (5, Some((name, Kind::Values(Dtype::F32)))) => {
                    let bytes: [u8; 4] = self.fixed(end)?;
                    self.append(&mut message, name, Dtype::F32, &bytes);
                }
                (5, Some((name, Kind::Float))) => {
                    let number = f32::from_le_bytes(self.fixed(end)?);
                    message.push(name, Value::Number(f64::from(number)));
                }
                (2, known) => {
                    let len = self.varint(end)?;
                    let Some(stop) = self.at.checked_add(len).filter(|stop| *stop <= end) else {
                        let found = format!("a field of {len} bytes");
                        return Err(self.malformed(start, found, &format!("it to end by {end}")));
                    };
                    match known {
                        None => self.skip(len, end)?,
                        Some((name, kind)) => self.delimited(&mut message, name, kind, stop)?,
                    }
                }
                (_, Some((name, _))) => return Err(self.wrong(start, name)),
                _ => {
                    let found = format!("field {number} of wire type {form}");
                    return Err(self.malformed(start, found, "wire type 0, 1, 2 or 5"));
                }
            }
        }
        Ok(message)
    }

    /// A field that ends at `stop`.
    fn delimited(
        &mut self,
        message: &mut Message,
        name: &'static str,
        kind: Kind,
        stop: u64,
    ) -> Result<(), FormatError> {
        let (start, len) = (self.at, stop - self.at);
        match kind {
            Kind::Message(schema) => {
                message.push(name, Value::Message(self.message(schema, stop)?));
            }
            Kind::Values(dtype) if len % dtype.size() as u64 == 0 => {
                self.skip(len, stop)?;
                message.push(name, Value::Packed(dtype, start..stop));
            }
            Kind::Bytes => {
                self.skip(len, stop)?;
                message.push(name, Value::Bytes(start..stop));
            }
            Kind::Text if len <= limits::TEXT => {
                self.take(len)?;
                let mut bytes = vec![0; len as usize];
                self.read(&mut bytes, stop)?;
                let text = String::from_utf8(bytes).map_err(|_| self.wrong(start, name))?;
                message.push(name, Value::Text(text));
            }
            Kind::Whole | Kind::Word(_) if len <= limits::TEXT => {
                while self.at < stop {
                    self.count()?;
                    let value = whole(kind, self.varint(stop)?);
                    message.push(name, value.ok_or_else(|| self.wrong(start, name))?);
                }
            }
            Kind::Float if len <= limits::TEXT && len.is_multiple_of(4) => {
                while self.at < stop {
                    self.count()?;
                    let number = f32::from_le_bytes(self.fixed(stop)?);
                    message.push(name, Value::Number(f64::from(number)));
                }
            }
            Kind::Values(_) | Kind::Text | Kind::Whole | Kind::Word(_) | Kind::Float => {
                return Err(self.malformed(
                    start,
                    format!("`{name}` of {len} bytes"),
                    "another length",
                ));
            }
        }
        Ok(())
    }

    /// One more of what takes room in memory.
    fn count(&mut self) -> Result<(), FormatError> {
        self.fields += 1;
        if self.fields <= limits::FIELDS {
            return self.take(FIELD);
        }
        Err(FormatError::TooLarge {
            place: self.place.to_owned(),
            found: format!("more than {} fields", limits::FIELDS),
            limit: format!("{} fields", limits::FIELDS),
        })
    }

    /// A value of a tensor that stands alone. Those behind the first count as no fields: they are
    /// kept as they are.
    fn append(&mut self, message: &mut Message, name: &'static str, dtype: Dtype, bytes: &[u8]) {
        if let Some(Value::Unpacked(_, values)) = message.last_mut(name) {
            values.extend(bytes);
            self.fields -= 1;
        } else {
            message.push(name, Value::Unpacked(dtype, bytes.to_vec()));
        }
    }

    fn take(&self, bytes: u64) -> Result<(), FormatError> {
        let found = || format!("a network of more than {} fields", self.fields);
        self.room.take(bytes, self.place, found)
    }

    fn varint(&mut self, end: u64) -> Result<u64, FormatError> {
        let (start, mut value) = (self.at, 0u64);
        for shift in (0..64).step_by(7) {
            let [byte] = self.fixed(end)?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.malformed(start, String::from("a number of more than 64 bits"), "a shorter one"))
    }

    fn fixed<const N: usize>(&mut self, end: u64) -> Result<[u8; N], FormatError> {
        let mut bytes = [0; N];
        self.read(&mut bytes, end)?;
        Ok(bytes)
    }

    fn read(&mut self, to: &mut [u8], end: u64) -> Result<(), FormatError> {
        self.room(to.len() as u64, end)?;
        self.source.read_exact(to).map_err(FormatError::io("read", self.place.as_ref()))?;
        self.at += to.len() as u64;
        Ok(())
    }

    fn skip(&mut self, len: u64, end: u64) -> Result<(), FormatError> {
        self.room(len, end)?;
        // What is not negative when signed lies within a file.
        let sought = self.source.seek_relative(len as i64);
        sought.map_err(FormatError::io("read", self.place.as_ref()))?;
        self.at += len;
        Ok(())
    }

    fn room(&self, len: u64, end: u64) -> Result<(), FormatError> {
        if len <= end - self.at {
            return Ok(());
        }
        let expected = format!("{len} more bytes: copy or download it again");
        Err(self.malformed(self.at, String::from("the end of a message"), &expected))
    }

    fn wrong(&self, at: u64, name: &str) -> FormatError {
        self.malformed(at, format!("`{name}` with something else"), "what the format has there")
    }

    pub(crate) fn malformed(&self, offset: u64, found: String, expected: &str) -> FormatError {
        let (place, expected) = (self.place.to_owned(), expected.to_owned());
        FormatError::Malformed { place, offset, found, expected }
    }
}

/// A message in bytes. Fields that the schema does not have are left out.
pub(crate) fn encode(message: &Message, schema: &Schema) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in message.fields() {
        let Some((number, _, kind)) = schema.iter().find(|(_, known, _)| *known == name) else {
            continue;
        };
        match (value, kind) {
            (Value::Text(text), _) => delimited(*number, text.as_bytes(), &mut bytes),
            (Value::Message(inner), Kind::Message(schema)) => {
                delimited(*number, &encode(inner, schema), &mut bytes);
            }
            (Value::Number(value), Kind::Float) => {
                varint(number << 3 | 5, &mut bytes);
                bytes.extend((*value as f32).to_le_bytes());
            }
            (Value::Number(value), _) => {
                varint(number << 3, &mut bytes);
                varint((*value as i64).cast_unsigned(), &mut bytes);
            }
            (Value::Word(word), Kind::Word(words)) => {
                varint(number << 3, &mut bytes);
                let known = words.iter().find(|(_, known)| known == word);
                varint(known.map_or(0, |(value, _)| *value), &mut bytes);
            }
            _ => {}
        }
    }
    bytes
}

/// A field of bytes.
pub(crate) fn delimited(number: u64, content: &[u8], to: &mut Vec<u8>) {
    length(number, content.len() as u64, to);
    to.extend(content);
}

/// The beginning of a field of so many bytes.
pub(crate) fn length(number: u64, len: u64, to: &mut Vec<u8>) {
    varint(number << 3 | 2, to);
    varint(len, to);
}

fn varint(mut value: u64, to: &mut Vec<u8>) {
    while value > 0x7f {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// What a whole number stands for.
fn whole(kind: Kind, number: u64) -> Option<Value> {
    match kind {
        // Negative ones are written as those of 64 bits.
        Kind::Whole => Some(Value::Number(number.cast_signed() as f64)),
        Kind::Word(words) => {
            let word = words.iter().find(|(known, _)| *known == number);
            Some(Value::Word(word.map_or_else(|| number.to_string(), |(_, w)| (*w).to_owned())))
        }
        Kind::Float | Kind::Text | Kind::Message(_) | Kind::Values(_) | Kind::Bytes => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    const INNER: &Schema = &[(1, "x", Kind::Whole), (2, "v", Kind::Values(Dtype::F32))];
    const OUTER: &Schema = &[
        (1, "name", Kind::Text),
        (2, "inner", Kind::Message(INNER)),
        (3, "eps", Kind::Float),
        (4, "pool", Kind::Word(&[(0, "MAX"), (1, "AVE")])),
    ];

    fn read(bytes: &[u8]) -> Result<Message, FormatError> {
        let room = Room::within(&crate::Limits::default());
        Wire::new(Cursor::new(bytes), "bytes", &room).message(OUTER, bytes.len() as u64)
    }

    #[test]
    fn fields_packed_and_not_known_and_not() {
        let bytes = [
            &[0x0a, 2, b'h', b'i'][..],
            // An unknown field of each wire type.
            &[0x78, 0xff, 1, 0x79, 0, 0, 0, 0, 0, 0, 0, 0, 0x7a, 1, 9, 0x7d, 0, 0, 0, 0],
            &[0x1d, 0, 0, 0, 0x3f, 0x20, 1],
            // −1, then 2 and 300 packed; values one by one, then packed.
            &[0x12, 28, 8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 10, 3, 2, 0xac, 2],
            &[0x15, 1, 2, 3, 4, 0x15, 5, 6, 7, 8, 0x12, 0],
            &[0x20, 7],
        ]
        .concat();
        let message = read(&bytes).unwrap();
        assert_eq!(message.texts("name").collect::<Vec<_>>(), ["hi"]);
        assert_eq!(message.number("eps", 0.0), Ok(0.5));
        assert_eq!(message.word("pool", ""), Ok("7"));
        let inner = message.message("inner");
        assert_eq!(inner.numbers("x"), Ok(vec![-1.0, 2.0, 300.0]));
        let values: Vec<_> = inner.all("v").collect();
        assert_eq!(values[0], &Value::Unpacked(Dtype::F32, vec![1, 2, 3, 4, 5, 6, 7, 8]));
        assert!(matches!(values[1], Value::Packed(Dtype::F32, range) if range.is_empty()));
    }

    #[test]
    fn what_breaks_the_rules_is_refused() {
        let long = [&[8][..], &[0xff; 9], &[2]].concat();
        for (bytes, found) in [
            (&[0x0a, 3, b'a'][..], "byte 0: found a field of 3 bytes"),
            (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], "a field of"),
            (&[0x0a], "the end of a message"),
            (&[0x0a, 1, 0xff], "`name` with something else"),
            (&[0x0d, 0, 0, 0, 0], "`name` with something else"),
            (&[0x12, 3, 0x12, 1, 0], "`v` of 1 bytes"),
            (&[0x0b], "`name` with something else"),
            (&[0x7b], "field 15 of wire type 3"),
            (&[0x7d, 0], "the end of a message"),
            (&long, "a number of more than 64 bits"),
        ] {
            let error = read(bytes).unwrap_err().to_string();
            assert!(error.contains(found), "{bytes:?}: {error}");
        }
    }

    #[test]
    fn a_file_of_nothing_but_fields_is_too_large() {
        let error = read(&[0x20, 0].repeat(limits::FIELDS + 1)).unwrap_err();
        assert!(matches!(error, FormatError::TooLarge { .. }), "{error}");
        // Values one by one are no fields.
        let inner = [0x15, 0, 0, 0x80, 0x3f].repeat(limits::FIELDS + 1);
        let mut bytes = Vec::new();
        delimited(2, &inner, &mut bytes);
        assert!(read(&bytes).is_ok());
    }
}
