//! protobuf's text format, in which Caffe's networks are written down, in and out.
//!
//! Fields are read whatever their names are, so that what training alone needs, and what others
//! added to Caffe, is no mistake. Messages are kept on a stack of our own: no nesting is too deep for
//! the thread's.

use super::message::{Message, Value};
use crate::limits::{FIELDS, MESSAGE_DEPTH};

/// What is no text format: the byte, what was found there, and what was expected.
#[derive(Debug, PartialEq)]
pub(super) struct Refused {
    pub(super) at: usize,
    pub(super) found: String,
    pub(super) expected: &'static str,
}

#[derive(Debug, PartialEq)]
enum Token<'t> {
    /// Letters, digits and what belongs to numbers.
    Word(&'t str),
    /// In quotation marks, without them.
    Text(Vec<u8>),
    /// One of `{}<>[]:,;`.
    Mark(u8),
    End,
}

/// A message that is not yet whole: what it is called, the mark that ends it, and what it is in.
struct Open {
    name: String,
    end: u8,
    outer: Message,
    at: usize,
}

/// The message that a text is.
pub(super) fn parse(text: &str) -> Result<Message, Refused> {
    let mut lexer = Lexer { text, at: 0 };
    let (mut message, mut stack, mut fields) = (Message::default(), Vec::<Open>::new(), 0);
    loop {
        let (start, token) = lexer.next()?;
        let refused = |found, expected| Err(Refused { at: start, found, expected });
        let name = match token {
            Token::Mark(b',' | b';') => continue,
            Token::Mark(mark) if stack.last().is_some_and(|open| open.end == mark) => {
                if let Some(Open { name, mut outer, .. }) = stack.pop() {
                    std::mem::swap(&mut outer, &mut message);
                    message.push(name, Value::Message(outer));
                }
                continue;
            }
            Token::End => match stack.last() {
                None => return Ok(message),
                Some(open) => {
                    let found = format!("`{}` that has no end", open.name.escape_debug());
                    return Err(Refused { at: open.at, found, expected: "`}` behind its fields" });
                }
            },
            Token::Word(name) if is_name(name) => name,
            Token::Word(_) | Token::Text(_) | Token::Mark(_) => {
                return refused(token.what(), "the name of a field");
            }
        };
        fields += 1;
        if fields > FIELDS {
            return refused(format!("more than {FIELDS} fields"), "those of a network");
        }
        let (mut at, mut token) = lexer.next()?;
        let colon = token == Token::Mark(b':');
        if colon {
            (at, token) = lexer.next()?;
        }
        match token {
            Token::Mark(mark @ (b'{' | b'<')) => {
                if stack.len() == MESSAGE_DEPTH {
                    return refused(
                        format!("more than {MESSAGE_DEPTH} messages in each other"),
                        "fewer",
                    );
                }
                let end = if mark == b'{' { b'}' } else { b'>' };
                let outer = std::mem::take(&mut message);
                stack.push(Open { name: name.to_owned(), end, outer, at: start });
            }
            Token::Mark(b'[') if colon => {
                for value in lexer.list()? {
                    fields += 1;
                    message.push(name.to_owned(), value);
                }
            }
            Token::Word(_) | Token::Text(_) if colon => {
                message.push(name.to_owned(), lexer.scalar(at, token)?);
            }
            Token::Word(_) | Token::Text(_) | Token::Mark(_) | Token::End => {
                let expected = if colon { "a value" } else { "`:` or `{`" };
                return Err(Refused { at, found: token.what(), expected });
            }
        }
    }
}

/// A message as text; the fields of messages in it are moved to the right.
pub(super) fn write(message: &Message, margin: &str) -> String {
    let mut text = String::new();
    for (name, value) in message.fields() {
        let value = match value {
            Value::Text(content) => {
                let escaped =
                    content.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
                format!(": \"{escaped}\"")
            }
            Value::Word(word) => format!(": {word}"),
            Value::Number(number) => format!(": {number}"),
            Value::Message(inner) => {
                format!(" {{\n{}{margin}}}", write(inner, &format!("{margin}  ")))
            }
            Value::Packed(..) | Value::Unpacked(..) | Value::Bytes(_) => continue,
        };
        text.push_str(&format!("{margin}{name}{value}\n"));
    }
    text
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A number as protobuf writes it: decimal, hexadecimal, octal, or with a fraction.
fn number(word: &str) -> Option<f64> {
    let (sign, digits) = word.strip_prefix('-').map_or((1.0, word), |digits| (-1.0, digits));
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return matches!(digits, "inf" | "nan").then(|| digits.parse().ok()).flatten();
    }
    let radix = |digits: &str, radix| u64::from_str_radix(digits, radix).ok().map(|n| n as f64);
    let value = if let Some(hex) = digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        radix(hex, 16)
    } else if digits.len() > 1
        && digits.starts_with('0')
        && digits.bytes().all(|b| b.is_ascii_digit())
    {
        radix(digits, 8)
    } else {
        digits.trim_end_matches(['f', 'F']).parse().ok()
    };
    value.map(|value| sign * value)
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    /// The next token and its first byte.
    fn next(&mut self) -> Result<(usize, Token<'t>), Refused> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b'#' => {
                    let rest = &bytes[self.at..];
                    self.at += rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
                }
                byte if byte.is_ascii_whitespace() => self.at += 1,
                _ => break,
            }
        }
        let start = self.at;
        let token = match bytes.get(start) {
            None => Token::End,
            Some(quote @ (b'"' | b'\'')) => Token::Text(self.quoted(*quote)?),
            Some(mark @ (b'{' | b'}' | b'<' | b'>' | b'[' | b']' | b':' | b',' | b';')) => {
                self.at += 1;
                Token::Mark(*mark)
            }
            Some(_) => {
                let belongs = |b: &u8| b.is_ascii_alphanumeric() || b"_.+-".contains(b);
                let rest = &bytes[start..];
                let len = rest.iter().position(|b| !belongs(b)).unwrap_or(rest.len());
                if len == 0 {
                    let found = self.text[start..]
                        .chars()
                        .next()
                        .map_or_else(String::new, |found| format!("`{}`", found.escape_debug()));
                    return Err(Refused { at: start, found, expected: "protobuf's text format" });
                }
                self.at += len;
                Token::Word(&self.text[start..self.at])
            }
        };
        Ok((start, token))
    }

    /// What is between quotation marks, with its escapes resolved.
    fn quoted(&mut self, quote: u8) -> Result<Vec<u8>, Refused> {
        let (bytes, start) = (self.text.as_bytes(), self.at);
        let mut text = Vec::new();
        self.at += 1;
        let unterminated = || Refused {
            at: start,
            found: String::from("a text that has no end on its line"),
            expected: "a quotation mark behind it",
        };
        loop {
            let byte = *bytes.get(self.at).filter(|b| **b != b'\n').ok_or_else(unterminated)?;
            self.at += 1;
            if byte == quote {
                return Ok(text);
            }
            if byte != b'\\' {
                text.push(byte);
                continue;
            }
            let escape = *bytes.get(self.at).ok_or_else(unterminated)?;
            self.at += 1;
            let mut digits = |radix: u32, most: usize, first: &[u8]| {
                let mut value = 0;
                let mut digits = first.to_vec();
                while digits.len() < most
                    && let Some(digit) = bytes.get(self.at)
                    && char::from(*digit).is_digit(radix)
                {
                    digits.push(*digit);
                    self.at += 1;
                }
                for digit in digits {
                    value = value * radix + char::from(digit).to_digit(radix).unwrap_or(0);
                }
                value as u8
            };
            text.push(match escape {
                b'n' => b'\n',
                b't' => b'\t',
                b'r' => b'\r',
                b'x' => digits(16, 2, &[]),
                b'0'..=b'7' => digits(8, 3, &[escape]),
                other => other,
            });
        }
    }

    /// A value that is no message; texts that follow each other are one.
    fn scalar(&mut self, at: usize, token: Token) -> Result<Value, Refused> {
        let mut bytes = match token {
            Token::Text(bytes) => bytes,
            Token::Word(word) if is_name(word) && number(word).is_none() => {
                return Ok(Value::Word(word.to_owned()));
            }
            Token::Word(word) => {
                let found = || format!("`{}`", word.escape_debug());
                let refused = || Refused { at, found: found(), expected: "a number or a word" };
                return number(word).map(Value::Number).ok_or_else(refused);
            }
            Token::Mark(_) | Token::End => {
                return Err(Refused { at, found: token.what(), expected: "a value" });
            }
        };
        loop {
            let before = self.at;
            if let (_, Token::Text(more)) = self.next()? {
                bytes.extend(more);
            } else {
                self.at = before;
                break;
            }
        }
        let text = String::from_utf8(bytes).map_err(|_| Refused {
            at,
            found: String::from("a text that is not UTF-8"),
            expected: "one that is",
        })?;
        Ok(Value::Text(text))
    }

    /// The values up to `]`.
    fn list(&mut self) -> Result<Vec<Value>, Refused> {
        let mut values = Vec::new();
        loop {
            let (at, token) = self.next()?;
            if token == Token::Mark(b']') {
                return Ok(values);
            }
            if values.len() == FIELDS {
                return Err(Refused { at, found: token.what(), expected: "a shorter list" });
            }
            if token != Token::Mark(b',') {
                values.push(self.scalar(at, token)?);
            }
        }
    }
}

impl Token<'_> {
    /// For errors.
    fn what(&self) -> String {
        match self {
            Token::Word(word) => format!("`{}`", word.escape_debug()),
            Token::Text(_) => String::from("a text"),
            Token::Mark(mark) => format!("`{}`", char::from(*mark)),
            Token::End => String::from("the end of the file"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_value() {
        let text = r#"
            name: "a" 'b\n\x41\101' # a comment: {
            kernel_size: [3, 0x10, 010]; eps: -1.5e-3f, pool: MAX
            layer { inner: < deep: 1 > } layer: { on: true }
            inf: -1 nothing: []
        "#;
        let message = parse(text).unwrap();
        assert_eq!(message.texts("name").collect::<Vec<_>>(), ["ab\nAA"]);
        assert_eq!(message.sizes("kernel_size"), Ok(vec![3, 16, 8]));
        assert_eq!(message.number("eps", 0.0), Ok(-1.5e-3));
        assert_eq!(message.word("pool", ""), Ok("MAX"));
        let layers: Vec<_> = message.messages(&["layer"]).collect();
        assert_eq!(layers[0].message("inner").size("deep"), Ok(Some(1)));
        assert_eq!(layers[1].flag("on", false), Ok(true));
        assert_eq!(message.get("nothing"), None);
    }

    #[test]
    fn what_is_no_text_format_is_told_with_its_place() {
        let deep = "a{".repeat(100_000);
        let list = "a: [ [1] ]";
        for (text, at, found) in [
            ("layer {", 0, "`layer` that has no end"),
            ("a: 1 }", 5, "`}`"),
            ("layer { a: 1 >", 13, "`>`"),
            ("a: \"b", 3, "a text that has no end"),
            ("a: \"b\n\"", 3, "a text that has no end"),
            ("a: \"\\", 3, "a text that has no end"),
            ("a: \"\\xff\"", 3, "not UTF-8"),
            ("a b", 2, "`b`"),
            ("a 1", 2, "`1`"),
            ("a:", 2, "the end of the file"),
            ("a: 1x", 3, "`1x`"),
            ("a: [1", 5, "the end of the file"),
            (list, 5, "`[`"),
            ("3: 1", 0, "`3`"),
            ("ä: 1", 0, "`ä`"),
            ("\0", 0, "`\\0`"),
            (&deep, 64, "more than 32 messages"),
        ] {
            let refused = parse(text).unwrap_err();
            assert_eq!(refused.at, at, "{refused:?}");
            assert!(refused.found.contains(found), "{refused:?}");
        }
    }
}
