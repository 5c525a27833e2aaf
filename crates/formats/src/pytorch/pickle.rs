//! The pickle of a `torch.save`: a program for a machine with a stack. Here it can build plain values
//! and tensors; of what it may call only the few functions that rebuild tensors are known, and
//! they are ours. Whatever else it names is refused by that name. Nothing is executed.
//!
//! What a program makes is no larger than some times the program: values that it names again are shared.
//! A container may hold itself; nobody walks them deeper than two.

use std::collections::HashMap;

use crate::FormatError;
use crate::limits::{self, Room};

/// A value. Containers are in the [`Heap`], for a program may still fill those it has named.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float,
    /// Text, a list or tuple, or a dictionary of the heap.
    Text(usize),
    List(usize),
    Dict(usize),
    Storage(usize),
    Tensor(usize),
    Call(Call),
    /// A type of storage, or of values: what safetensors calls it.
    Type(&'static str),
}

/// What a program may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    OrderedDict,
    RebuildTensor,
    RebuildTyped,
    RebuildParameter,
    Size,
}

/// Values in storage `key` of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Storage {
    /// As safetensors calls the type of its values.
    pub(super) element: &'static str,
    pub(super) key: String,
    pub(super) len: i64,
}

/// A view of a storage, in values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) storage: usize,
    /// The type of its values; the storage may be one of bytes.
    pub(super) element: &'static str,
    pub(super) offset: i64,
    pub(super) shape: Vec<i64>,
    pub(super) strides: Vec<i64>,
}

/// What a program made.
#[derive(Default)]
pub(super) struct Heap {
    pub(super) texts: Vec<String>,
    pub(super) lists: Vec<Vec<Value>>,
    pub(super) dicts: Vec<Vec<(Value, Value)>>,
    pub(super) storages: Vec<Storage>,
    pub(super) tensors: Vec<View>,
}

/// Why a program is refused.
#[derive(Debug)]
pub(super) enum Refused {
    /// It is broken: the byte, what is there and what should be.
    Malformed(usize, String, &'static str),
    /// It asks for something that is neither a tensor nor plain data.
    Foreign(String),
    /// It is longer than is allowed, or makes too much.
    TooLarge(FormatError),
}

/// The most bytes of memory that an operation takes, beside the texts that stand in the program.
const OPERATION: u64 = 128;

/// How many operations are paid for at a time.
const TOGETHER: usize = 1 << 10;

/// Runs a program to its end, and says where that is.
pub(super) fn run(
    program: &[u8],
    place: &str,
    room: &Room,
) -> Result<(Heap, Value, usize), Refused> {
    let mut machine = Machine {
        program,
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        heap: Heap::default(),
        entries: 0,
        operations: 0,
    };
    let mut paid = 0;
    loop {
        if machine.operations >= paid {
            if paid >= limits::OPERATIONS {
                return Err(Refused::TooLarge(FormatError::TooLarge {
                    place: place.to_owned(),
                    found: format!("a pickle of more than {paid} operations"),
                    limit: format!("{} operations", limits::OPERATIONS),
                }));
            }
            let next = machine.operations + TOGETHER - paid;
            let found = || format!("a pickle of more than {paid} operations");
            room.take(OPERATION * next as u64, place, found).map_err(Refused::TooLarge)?;
            paid += next;
        }
        machine.operations += 1;
        if let Some(result) = machine.step()? {
            return Ok((machine.heap, result, machine.at));
        }
    }
}

struct Machine<'a> {
    program: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    /// Where in the stack the values begin that the next container takes.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    heap: Heap,
    /// Entries of dictionaries that were made from lists.
    entries: usize,
    /// Operations so far; a tensor counts as many as it has axes.
    operations: usize,
}

const WHOLE: &str = "a whole pickle: copy or download the file again";

impl Machine<'_> {
    fn malformed<T>(&self, found: impl Into<String>, expected: &'static str) -> Result<T, Refused> {
        Err(Refused::Malformed(self.at, found.into(), expected))
    }

    fn bytes(&mut self, len: usize) -> Result<&[u8], Refused> {
        if len > self.program.len() - self.at {
            return self.malformed("the end of the pickle", WHOLE);
        }
        self.at += len;
        Ok(&self.program[self.at - len..self.at])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    /// A line, without its end.
    fn line(&mut self) -> Result<String, Refused> {
        let len = self.program[self.at..].iter().position(|&byte| byte == b'\n');
        let Some(len) = len else { return self.malformed("a line without an end", WHOLE) };
        let line = String::from_utf8_lossy(self.bytes(len + 1)?.trim_ascii_end()).into_owned();
        Ok(line)
    }

    fn text(&mut self, len: usize) -> Result<Value, Refused> {
        let text = std::str::from_utf8(self.bytes(len)?).map(str::to_owned);
        let Ok(text) = text else { return self.malformed("text that is no UTF-8", "UTF-8") };
        self.heap.texts.push(text);
        Ok(Value::Text(self.heap.texts.len() - 1))
    }

    fn list(&mut self, values: Vec<Value>) -> Value {
        self.heap.lists.push(values);
        Value::List(self.heap.lists.len() - 1)
    }

    fn dict(&mut self, entries: Vec<(Value, Value)>) -> Value {
        self.heap.dicts.push(entries);
        Value::Dict(self.heap.dicts.len() - 1)
    }

    /// The last value since the last mark.
    fn pop(&mut self) -> Result<Value, Refused> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.pop() {
            Some(value) if self.stack.len() >= floor => Ok(value),
            Some(_) | None => self.malformed("an empty stack", WHOLE),
        }
    }

    fn last(&mut self, count: usize) -> Result<Vec<Value>, Refused> {
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(self.pop()?);
        }
        values.reverse();
        Ok(values)
    }

    /// The values since the last mark, which is taken away.
    fn marked(&mut self) -> Result<Vec<Value>, Refused> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => self.malformed("no mark", WHOLE),
        }
    }

    fn remembered(&mut self, key: u32) -> Result<Value, Refused> {
        match self.memo.get(&key) {
            Some(value) => Ok(*value),
            None => self.malformed(format!("value {key}, which was never stored"), WHOLE),
        }
    }

    fn remember(&mut self, key: u32) -> Result<(), Refused> {
        let Some(&value) = self.stack.last() else {
            return self.malformed("an empty stack", WHOLE);
        };
        self.memo.insert(key, value);
        Ok(())
    }

    fn extend(&mut self, values: Vec<Value>) -> Result<(), Refused> {
        match self.stack.last() {
            Some(&Value::List(list)) => self.heap.lists[list].extend(values),
            _ => return self.malformed("values for what is no list", WHOLE),
        }
        Ok(())
    }

    fn insert(&mut self, values: &[Value]) -> Result<(), Refused> {
        let (pairs, rest) = values.as_chunks();
        match self.stack.last() {
            Some(&Value::Dict(dict)) if rest.is_empty() => {
                self.heap.dicts[dict].extend(pairs.iter().map(|[key, value]| (*key, *value)));
            }
            _ => return self.malformed("entries for what is no dictionary", WHOLE),
        }
        Ok(())
    }

    /// An operation; the result after the last.
    fn step(&mut self) -> Result<Option<Value>, Refused> {
        let [operation] = self.array()?;
        let value = match operation {
            b'.' => return self.pop().map(Some),
            // The protocol's number, and a frame's length.
            0x80 => return self.array::<1>().map(|_| None),
            0x95 => return self.array::<8>().map(|_| None),
            b'(' => {
                self.marks.push(self.stack.len());
                return Ok(None);
            }
            b'0' => return self.pop().map(|_| None),
            b'q' => {
                let [key] = self.array()?;
                return self.remember(key.into()).map(|()| None);
            }
            b'r' => {
                let key = u32::from_le_bytes(self.array()?);
                return self.remember(key).map(|()| None);
            }
            0x94 => {
                let key = self.memo.len() as u32;
                return self.remember(key).map(|()| None);
            }
            b'a' => {
                let value = self.pop()?;
                return self.extend(vec![value]).map(|()| None);
            }
            b'e' => {
                let values = self.marked()?;
                return self.extend(values).map(|()| None);
            }
            b's' => {
                let entry = self.last(2)?;
                return self.insert(&entry).map(|()| None);
            }
            b'u' => {
                let entries = self.marked()?;
                return self.insert(&entries).map(|()| None);
            }
            // What an object is told about itself: `_metadata` of a state_dict says nothing of values.
            b'b' => {
                self.pop()?;
                match self.stack.last() {
                    Some(Value::Dict(_)) => return Ok(None),
                    _ => return Err(Refused::Foreign(String::from("an object with a state"))),
                }
            }
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'J' => Value::Int(i32::from_le_bytes(self.array()?).into()),
            b'K' => Value::Int(u8::from_le_bytes(self.array()?).into()),
            b'M' => Value::Int(u16::from_le_bytes(self.array()?).into()),
            0x8a => self.long()?,
            b'G' => {
                self.bytes(8)?;
                Value::Float
            }
            b'X' => {
                let len = u32::from_le_bytes(self.array()?);
                self.text(len as usize)?
            }
            b'T' => {
                let len = u32::from_le_bytes(self.array()?);
                self.text(len as usize)?
            }
            0x8c | b'U' => {
                let [len] = self.array()?;
                self.text(len.into())?
            }
            b')' | b']' => self.list(Vec::new()),
            b'}' => self.dict(Vec::new()),
            b't' | b'l' => {
                let values = self.marked()?;
                self.list(values)
            }
            0x85..=0x87 => {
                let values = self.last(usize::from(operation - 0x84))?;
                self.list(values)
            }
            b'h' => {
                let [key] = self.array()?;
                self.remembered(key.into())?
            }
            b'j' => {
                let key = u32::from_le_bytes(self.array()?);
                self.remembered(key)?
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                named(&module, &name)?
            }
            0x93 => {
                let both = self.last(2)?;
                let [Value::Text(module), Value::Text(name)] = both[..] else {
                    return self.malformed("a name that is no text", WHOLE);
                };
                named(&self.heap.texts[module], &self.heap.texts[name])?
            }
            b'Q' => {
                let id = self.pop()?;
                self.storage(id)?
            }
            b'R' => {
                let both = self.last(2)?;
                self.call(both[0], both[1])?
            }
            other => {
                let what = format!("operation 0x{other:02x} at byte {}", self.at - 1);
                return Err(Refused::Foreign(what));
            }
        };
        self.stack.push(value);
        Ok(None)
    }

    /// A number of up to eight bytes; larger ones are none that a tensor has.
    fn long(&mut self) -> Result<Value, Refused> {
        let [len] = self.array()?;
        let bytes = self.bytes(len.into())?;
        if bytes.len() > 8 {
            return Ok(Value::Float);
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut number = if negative { [0xff; 8] } else { [0; 8] };
        number[..bytes.len()].copy_from_slice(bytes);
        Ok(Value::Int(i64::from_le_bytes(number)))
    }

    /// `("storage", type, key, device, length)`; before PyTorch 1.6 with what a view is of behind it,
    /// which was nothing.
    fn storage(&mut self, id: Value) -> Result<Value, Refused> {
        let Value::List(id) = id else {
            return self.malformed("an id that is no tuple", WHOLE);
        };
        let id = match &self.heap.lists[id][..] {
            [id @ .., Value::None] if id.len() == 5 => id,
            id => id,
        };
        match *id {
            [Value::Text(kind), Value::Type(element), Value::Text(key), _, Value::Int(len)]
                if self.heap.texts[kind] == "storage"
                    && self.heap.texts[key].len() <= limits::KEY =>
            {
                let key = self.heap.texts[key].clone();
                self.heap.storages.push(Storage { element, key, len });
                Ok(Value::Storage(self.heap.storages.len() - 1))
            }
            _ => self.malformed("an id that is none of a storage", WHOLE),
        }
    }

    fn call(&mut self, callee: Value, arguments: Value) -> Result<Value, Refused> {
        let (Value::Call(callee), Value::List(arguments)) = (callee, arguments) else {
            return self.malformed("a call of what is no function", WHOLE);
        };
        let arguments = &self.heap.lists[arguments][..];
        match (callee, arguments) {
            (Call::OrderedDict, []) => Ok(self.dict(Vec::new())),
            (Call::OrderedDict, &[Value::List(pairs)]) => {
                // The same list may be asked for many times.
                self.entries += self.heap.lists[pairs].len();
                if self.entries > self.program.len() {
                    return self.malformed("more entries than bytes", WHOLE);
                }
                let mut entries = Vec::new();
                for pair in &self.heap.lists[pairs] {
                    let Value::List(pair) = *pair else {
                        return self.malformed("an entry that is no pair", WHOLE);
                    };
                    let [key, value] = self.heap.lists[pair][..] else {
                        return self.malformed("an entry that is no pair", WHOLE);
                    };
                    entries.push((key, value));
                }
                Ok(self.dict(entries))
            }
            // What follows is whether it has a gradient, hooks, and metadata.
            (
                call @ (Call::RebuildTensor | Call::RebuildTyped),
                &[
                    Value::Storage(storage),
                    Value::Int(offset),
                    Value::List(shape),
                    Value::List(strides),
                    ref more @ ..,
                ],
            ) => {
                let element = match (call, more) {
                    (Call::RebuildTyped, &[_, _, Value::Type(element), ..]) => element,
                    (Call::RebuildTyped, _) => return self.malformed("values of no type", WHOLE),
                    _ => self.heap.storages[storage].element,
                };
                let numbers = |list: usize| {
                    let number = |value: &Value| {
                        if let Value::Int(number) = value { Some(*number) } else { None }
                    };
                    self.heap.lists[list].iter().map(number).collect::<Option<Vec<i64>>>()
                };
                if [shape, strides].iter().any(|&list| self.heap.lists[list].len() > limits::AXES) {
                    return self.malformed("a tensor of too many axes", "64 at most");
                }
                let (Some(shape), Some(strides)) = (numbers(shape), numbers(strides)) else {
                    return self.malformed("a shape that is no numbers", WHOLE);
                };
                self.operations += shape.len();
                self.heap.tensors.push(View { storage, element, offset, shape, strides });
                Ok(Value::Tensor(self.heap.tensors.len() - 1))
            }
            (Call::RebuildParameter, &[tensor @ Value::Tensor(_), ..]) => Ok(tensor),
            (Call::Size, &[size @ Value::List(_)]) => Ok(size),
            (callee, _) => {
                self.malformed(format!("a call of {callee:?} with other arguments"), WHOLE)
            }
        }
    }
}

/// What a name means, if it is one of those that are allowed.
pub(super) fn named(module: &str, name: &str) -> Result<Value, Refused> {
    Ok(match (module, name) {
        ("collections", "OrderedDict") => Value::Call(Call::OrderedDict),
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => {
            Value::Call(Call::RebuildTensor)
        }
        ("torch._utils", "_rebuild_tensor_v3") => Value::Call(Call::RebuildTyped),
        ("torch._utils", "_rebuild_parameter") => Value::Call(Call::RebuildParameter),
        ("torch", "Size") => Value::Call(Call::Size),
        ("torch", "DoubleStorage") => Value::Type("F64"),
        ("torch", "FloatStorage") => Value::Type("F32"),
        ("torch", "HalfStorage") => Value::Type("F16"),
        ("torch", "BFloat16Storage") => Value::Type("BF16"),
        ("torch", "LongStorage") => Value::Type("I64"),
        ("torch", "IntStorage") => Value::Type("I32"),
        ("torch", "ShortStorage") => Value::Type("I16"),
        ("torch", "CharStorage") => Value::Type("I8"),
        ("torch", "ByteStorage") => Value::Type("U8"),
        ("torch", "BoolStorage") => Value::Type("BOOL"),
        ("torch", "ComplexFloatStorage") => Value::Type("C64"),
        ("torch", "ComplexDoubleStorage") => Value::Type("C128"),
        ("torch.storage", "UntypedStorage") => Value::Type("U8"),
        ("torch", "uint16") => Value::Type("U16"),
        ("torch", "uint32") => Value::Type("U32"),
        ("torch", "uint64") => Value::Type("U64"),
        ("torch", "float8_e4m3fn") => Value::Type("F8_E4M3"),
        ("torch", "float8_e5m2") => Value::Type("F8_E5M2"),
        _ => {
            let name = format!("{}.{}", module.escape_debug(), name.escape_debug());
            return Err(Refused::Foreign(name));
        }
    })
}
