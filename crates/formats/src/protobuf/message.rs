//! What text and wire format both become: fields by the names that their `.proto` gives them.

use std::borrow::Cow;
use std::ops::Range;

use crate::Dtype;

/// The largest number that is taken for a size.
const MAX_SIZE: f64 = (1u64 << 31) as f64;

/// A message: its fields in the order of the file, a repeated one several times.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Message {
    fields: Vec<(Cow<'static, str>, Value)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// What stands in quotation marks.
    Text(String),
    /// A name that stands without: `MAX`, `true`.
    Word(String),
    Number(f64),
    Message(Message),
    /// Numbers that stay in the file, and where.
    Packed(Dtype, Range<u64>),
    /// Bytes of any kind that stay in the file, and where.
    Bytes(Range<u64>),
    /// Numbers that do not follow each other in the file, little-endian.
    Unpacked(Dtype, Vec<u8>),
}

static EMPTY: Message = Message { fields: Vec::new() };

impl Message {
    pub(crate) fn of<const N: usize>(fields: [(&'static str, Value); N]) -> Message {
        let fields = fields.into_iter().map(|(name, value)| (Cow::Borrowed(name), value));
        Message { fields: fields.collect() }
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.fields.iter().map(|(name, value)| (&**name, value))
    }

    pub(crate) fn push(&mut self, name: impl Into<Cow<'static, str>>, value: Value) {
        self.fields.push((name.into(), value));
    }

    /// The last field, if it has this name.
    pub(crate) fn last_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.fields.last_mut().filter(|(last, _)| last == name).map(|(_, value)| value)
    }

    /// All fields of a name.
    pub(crate) fn all<'m>(&'m self, name: &str) -> impl Iterator<Item = &'m Value> {
        self.fields.iter().filter(move |(field, _)| field == name).map(|(_, value)| value)
    }

    /// The field of a name; the last counts, as in protobuf.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.all(name).last()
    }

    /// All messages of one of the names, in the order of the file.
    pub(crate) fn messages<'m>(&'m self, names: &[&str]) -> impl Iterator<Item = &'m Message> {
        self.fields.iter().filter_map(move |(name, value)| {
            let Value::Message(message) = value else { return None };
            names.contains(&&**name).then_some(message)
        })
    }

    /// The message of a name, or one without fields.
    pub(crate) fn message(&self, name: &str) -> &Message {
        match self.get(name) {
            Some(Value::Message(message)) => message,
            _ => &EMPTY,
        }
    }

    /// All texts of a name; what is no text is left out.
    pub(crate) fn texts<'m>(&'m self, name: &str) -> impl Iterator<Item = &'m str> {
        self.all(name).filter_map(|value| {
            let Value::Text(text) = value else { return None };
            Some(text.as_str())
        })
    }

    /// The word of a name; what is none is an error that says so.
    pub(crate) fn word<'m>(&'m self, name: &str, default: &'m str) -> Result<&'m str, String> {
        match self.get(name) {
            None => Ok(default),
            Some(Value::Word(word)) => Ok(word),
            Some(other) => Err(format!("`{name}` of {}, expected a word", other.what())),
        }
    }

    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, String> {
        match self.get(name) {
            None => Ok(default),
            Some(Value::Word(word)) if word == "true" => Ok(true),
            Some(Value::Word(word)) if word == "false" => Ok(false),
            Some(Value::Number(number)) if *number == 0.0 || *number == 1.0 => Ok(*number == 1.0),
            Some(other) => Err(format!("`{name}` of {}, expected true or false", other.what())),
        }
    }

    pub(crate) fn number(&self, name: &str, default: f32) -> Result<f32, String> {
        Ok(self.numbers(name)?.last().map_or(default, |number| *number as f32))
    }

    /// All numbers of a name.
    pub(crate) fn numbers(&self, name: &str) -> Result<Vec<f64>, String> {
        let number = |value: &Value| {
            let Value::Number(number) = value else {
                return Err(format!("`{name}` of {}, expected a number", value.what()));
            };
            Ok(*number)
        };
        self.all(name).map(number).collect()
    }

    pub(crate) fn size(&self, name: &str) -> Result<Option<usize>, String> {
        Ok(self.sizes(name)?.last().copied())
    }

    /// All numbers of a name, which must be sizes.
    pub(crate) fn sizes(&self, name: &str) -> Result<Vec<usize>, String> {
        let size = |number: f64| {
            let is_size = number.fract() == 0.0 && (0.0..=MAX_SIZE).contains(&number);
            let expected = "expected a whole number from 0 to 2147483648";
            if is_size {
                Ok(number as usize)
            } else {
                Err(format!("`{name}` {number}, {expected}"))
            }
        };
        self.numbers(name)?.into_iter().map(size).collect()
    }
}

impl Value {
    pub(crate) fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    pub(crate) fn word(word: impl ToString) -> Value {
        Value::Word(word.to_string())
    }

    pub(crate) fn size(size: usize) -> Value {
        Value::Number(size as f64)
    }

    /// A number of single precision, by its shortest digits.
    pub(crate) fn real(value: f32) -> Value {
        Value::Number(value.to_string().parse().unwrap_or(f64::from(value)))
    }

    /// For errors.
    fn what(&self) -> String {
        match self {
            Value::Text(text) => format!("\"{}\"", text.escape_debug()),
            Value::Word(word) => format!("`{}`", word.escape_debug()),
            Value::Number(number) => number.to_string(),
            Value::Message(_) => String::from("a message"),
            Value::Packed(..) | Value::Unpacked(..) | Value::Bytes(_) => String::from("values"),
        }
    }
}
