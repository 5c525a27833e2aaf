//! Lines of a program, broken as the formatter of its language does.

/// An expression of a language, as far as it is broken over lines.
pub(crate) trait Expression {
    /// The longest line.
    const WIDTH: usize;

    /// On one line.
    fn flat(&self) -> String;

    /// Whether it stays on one line where there is room.
    fn is_short(&self) -> bool {
        true
    }

    /// A statement that has no room on one line.
    fn broken(&self, lines: &mut Lines, before: &str, after: &str);
}

#[derive(Debug, Default)]
pub(crate) struct Lines {
    text: String,
    depth: usize,
}

impl Lines {
    /// A line, or an empty one.
    pub(crate) fn line(&mut self, line: impl AsRef<str>) {
        if !line.as_ref().is_empty() {
            self.text.extend(std::iter::repeat_n("    ", self.depth));
            self.text.push_str(line.as_ref());
        }
        self.text.push('\n');
    }

    /// Lines as they are, at this depth.
    pub(crate) fn lines(&mut self, lines: &str) {
        lines.lines().for_each(|line| self.line(line));
    }

    /// Lines that were written elsewhere, at their own depth.
    pub(crate) fn raw(&mut self, lines: &str) {
        self.text.push_str(lines);
    }

    /// What stands within the line before, or between it and the one that closes it.
    pub(crate) fn block<T>(&mut self, inside: impl FnOnce(&mut Lines) -> T) -> T {
        self.depth += 1;
        let result = inside(self);
        self.depth -= 1;
        result
    }

    /// A statement, a field or an item, over as many lines as it needs.
    pub(crate) fn put<E: Expression>(&mut self, before: &str, expression: &E, after: &str) {
        match self.fits(before, expression, after) {
            true => self.line([before, &expression.flat(), after].concat()),
            false => expression.broken(self, before, after),
        }
    }

    /// Whether it is one line.
    pub(crate) fn fits<E: Expression>(&self, before: &str, expression: &E, after: &str) -> bool {
        let line = [before, &expression.flat(), after].concat();
        expression.is_short() && self.has_room::<E>(&line)
    }

    /// Whether a line of a language is not too long.
    pub(crate) fn has_room<E: Expression>(&self, line: &str) -> bool {
        4 * self.depth + line.chars().count() <= E::WIDTH
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn finish(self) -> String {
        self.text
    }
}
