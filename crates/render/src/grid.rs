//! Rows and columns, and the four ways to write them down.

use crate::number::thousands;

/// A table before it is written down.
#[derive(Default)]
pub(crate) struct Grid {
    pub(crate) heading: Vec<String>,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Vec<Cell>>,
    /// A last row below a rule; empty if there is none.
    pub(crate) total: Vec<Cell>,
    /// What is said below: of what, and what.
    pub(crate) notes: Vec<(&'static str, String)>,
}

pub(crate) enum Cell {
    Text(String),
    Count(u64),
    /// Nothing that could be said: a dash to people, an empty field to machines.
    None,
}

pub(crate) struct Column {
    head: String,
    align: Align,
    /// Whether text may break a line in it.
    breaks: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Align {
    Left,
    Right,
}

/// Columns of a terminal, which a table in text keeps to as far as it may break lines.
const TERMINAL: usize = 80;
const GAP: &str = "  ";
/// A column that may break is at least as wide as this, or as its widest cell.
const NARROWEST: usize = 20;
/// What a cell that goes on in a further line is set in by.
const HANG: &str = "  ";
/// A space at which no line is broken.
pub(crate) const NO_BREAK: char = '\u{a0}';

impl Column {
    pub(crate) fn left(head: impl Into<String>) -> Column {
        Column { head: head.into(), align: Align::Left, breaks: false }
    }

    pub(crate) fn right(head: impl Into<String>) -> Column {
        Column { align: Align::Right, ..Column::left(head) }
    }

    pub(crate) fn breaking(self) -> Column {
        Column { breaks: true, ..self }
    }
}

impl Cell {
    pub(crate) fn text(text: impl Into<String>) -> Cell {
        Cell::Text(text.into())
    }

    /// A number, or nothing where it is zero.
    pub(crate) fn counted(n: u64) -> Cell {
        if n == 0 { Cell::None } else { Cell::Count(n) }
    }

    fn for_people(&self) -> String {
        match self {
            Cell::Text(text) => printable(text),
            Cell::Count(n) => thousands(*n),
            Cell::None => String::from("-"),
        }
    }

    fn for_machines(&self) -> String {
        match self {
            Cell::Text(text) => printable(text),
            Cell::Count(n) => n.to_string(),
            Cell::None => String::new(),
        }
    }
}

/// A name read from a file may hold anything; on a terminal it must not act.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

impl Grid {
    fn head(&self) -> Vec<String> {
        self.columns.iter().map(|column| column.head.clone()).collect()
    }

    fn has_head(&self) -> bool {
        self.columns.iter().any(|column| !column.head.is_empty())
    }

    fn people(row: &[Cell]) -> Vec<String> {
        row.iter().map(Cell::for_people).collect()
    }

    pub(crate) fn text(&self) -> String {
        let rows: Vec<Vec<String>> = self.rows.iter().map(|row| Grid::people(row)).collect();
        let (head, total) = (self.head(), Grid::people(&self.total));
        let widths = self.widths(rows.iter().chain([&head, &total]));
        let across = widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1);
        let rule = format!("{}\n", "─".repeat(across));

        let mut out = String::new();
        for line in &self.heading {
            wrap(&printable(line), TERMINAL).iter().for_each(|line| out += &format!("{line}\n"));
        }
        if !out.is_empty() {
            out.push('\n');
        }
        if self.has_head() {
            out += &self.lines(&head, &widths);
            out += &rule;
        }
        rows.iter().for_each(|row| out += &self.lines(row, &widths));
        if !total.is_empty() {
            out += &rule;
            out += &self.lines(&total, &widths);
        }
        if !self.notes.is_empty() {
            out.push('\n');
        }
        let longest = self.notes.iter().map(|(of, _)| of.len() + 1).max().unwrap_or(0);
        for (of, note) in &self.notes {
            out += &format!("{:longest$} {note}\n", format!("{of}:"));
        }
        out
    }

    /// As wide as the widest cell, but for columns that may break where the terminal is too narrow.
    fn widths<'r>(&self, rows: impl Iterator<Item = &'r Vec<String>>) -> Vec<usize> {
        let mut widths = vec![0; self.columns.len()];
        for row in rows {
            for (widest, cell) in widths.iter_mut().zip(row) {
                *widest = (*widest).max(cell.chars().count());
            }
        }
        let across = widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1);
        let breaking = self.columns.iter().zip(&mut widths).filter(|(column, _)| column.breaks);
        if let Some((_, width)) = breaking.max_by_key(|(_, width)| **width) {
            let fitting = width.saturating_sub(across.saturating_sub(TERMINAL));
            *width = (*width).min(fitting.max(NARROWEST));
        }
        widths
    }

    /// A row of the table: a line, or several where a cell is broken.
    fn lines(&self, row: &[String], widths: &[usize]) -> String {
        let cells: Vec<Vec<String>> =
            row.iter().zip(widths).map(|(cell, &width)| wrap(cell, width)).collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or(0);
        let mut out = String::new();
        for i in 0..height {
            let padded =
                self.columns.iter().zip(&cells).zip(widths).map(|((column, cell), &width)| {
                    let line = cell.get(i).map_or("", String::as_str);
                    match column.align {
                        Align::Left => format!("{line:<width$}"),
                        Align::Right => format!("{line:>width$}"),
                    }
                });
            out += padded.collect::<Vec<_>>().join(GAP).trim_end();
            out.push('\n');
        }
        out
    }

    pub(crate) fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let escaped = |cells: Vec<String>| -> Vec<String> {
            cells.iter().map(|cell| escape(cell, markdown)).collect()
        };
        let rules: Vec<String> = self.columns.iter().map(|c| c.align.markdown().into()).collect();
        let mut out = String::new();
        for text in &self.heading {
            out += &format!("{}\n\n", escape(&printable(text), markdown));
        }
        out += &line(&escaped(self.head()));
        out += &line(&rules);
        self.rows.iter().for_each(|row| out += &line(&escaped(Grid::people(row))));
        if !self.total.is_empty() {
            let bold = |cell: String| if cell.is_empty() { cell } else { format!("**{cell}**") };
            let total = escaped(Grid::people(&self.total)).into_iter().map(bold);
            out += &line(&total.collect::<Vec<_>>());
        }
        if !self.notes.is_empty() {
            out.push('\n');
        }
        for (of, note) in &self.notes {
            out += &format!("- {of}: {}\n", escape(note, markdown));
        }
        out
    }

    /// RFC 4180, but for line breaks, which are those of the rest of the program.
    pub(crate) fn csv(&self) -> String {
        let quoted = |text: String| match text.contains([',', '"']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text,
        };
        let line = |cells: Vec<String>| -> String {
            cells.into_iter().map(quoted).collect::<Vec<_>>().join(",") + "\n"
        };
        let total = Some(&self.total).filter(|total| !total.is_empty());
        let rows = self.rows.iter().chain(total);
        let body = rows.map(|row| line(row.iter().map(Cell::for_machines).collect()));
        line(self.head()) + &body.collect::<String>()
    }

    pub(crate) fn latex(&self) -> String {
        let line = |cells: Vec<String>| -> String {
            let cells: Vec<String> = cells.iter().map(|cell| escape(cell, latex)).collect();
            format!("    {} \\\\\n", cells.join(" & "))
        };
        let caption: Vec<String> =
            self.heading.iter().map(|line| escape(&printable(line), latex)).collect();
        let columns: String = self.columns.iter().map(|column| column.align.latex()).collect();
        let mut out = String::from("% \\usepackage{booktabs}\n\\begin{table}\n  \\centering\n");
        out += &format!("  \\caption{{{}}}\n", caption.join(". "));
        out += &format!("  \\begin{{tabular}}{{{columns}}}\n    \\toprule\n");
        out += &line(self.head());
        out += "    \\midrule\n";
        self.rows.iter().for_each(|row| out += &line(Grid::people(row)));
        if !self.total.is_empty() {
            out += "    \\midrule\n";
            out += &line(Grid::people(&self.total));
        }
        out += "    \\bottomrule\n  \\end{tabular}\n";
        for (of, note) in &self.notes {
            out += &format!("\n  {}: {}\n", escape(of, latex), escape(note, latex));
        }
        out + "\\end{table}\n"
    }
}

impl Align {
    fn markdown(self) -> &'static str {
        match self {
            Align::Left => "---",
            Align::Right => "---:",
        }
    }

    fn latex(self) -> char {
        match self {
            Align::Left => 'l',
            Align::Right => 'r',
        }
    }
}

/// Broken at spaces into lines of at most `width`, as far as words allow.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let count = |text: &str| text.chars().count();
    let mut lines = vec![];
    let mut line = String::new();
    for word in text.split_inclusive(' ') {
        let full = count(&line) + count(word.trim_end()) > width;
        // Spaces in front set a name in below its block; they are no place to break.
        if full && !line.trim().is_empty() {
            lines.push(line.trim_end().replace(NO_BREAK, " "));
            line = String::from(HANG);
        }
        line += word;
    }
    lines.push(line.trim_end().replace(NO_BREAK, " "));
    lines
}

fn escape(text: &str, special: fn(char) -> Option<&'static str>) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match special(c) {
            Some(written) => out.push_str(written),
            None => out.push(c),
        }
    }
    out
}

/// What GitHub would take for markup inside a line. An underscore within a word is not.
fn markdown(c: char) -> Option<&'static str> {
    Some(match c {
        '|' => "\\|",
        '*' => "\\*",
        '`' => "\\`",
        '<' => "&lt;",
        '[' => "\\[",
        '\\' => "\\\\",
        _ => return None,
    })
}

fn latex(c: char) -> Option<&'static str> {
    Some(match c {
        '&' => "\\&",
        '%' => "\\%",
        '$' => "\\$",
        '#' => "\\#",
        '_' => "\\_",
        '{' => "\\{",
        '}' => "\\}",
        '~' => "\\textasciitilde{}",
        '^' => "\\textasciicircum{}",
        '\\' => "\\textbackslash{}",
        '<' => "\\textless{}",
        '>' => "\\textgreater{}",
        // Behind the end of a row a bracket would be an argument of it.
        '[' => "{[}",
        '×' => "$\\times$",
        '·' => "$\\cdot$",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        Grid {
            heading: vec![String::from("A & B")],
            columns: vec![Column::left("Name"), Column::right("Count")],
            rows: vec![
                vec![Cell::text("a_1, \"b\""), Cell::Count(12_345)],
                vec![Cell::text("3*3 | \u{1b}[31m"), Cell::None],
            ],
            total: vec![Cell::text("Total"), Cell::Count(12_345)],
            notes: vec![("bytes", String::from("4 * 5"))],
        }
    }

    #[test]
    fn text_is_aligned_and_harmless() {
        let expected = "A & B\n\nName          Count\n───────────────────\na_1, \"b\"     12,345\n\
                        3*3 | �[31m       -\n───────────────────\nTotal        12,345\n\nbytes: 4 * 5\n";
        assert_eq!(grid().text(), expected);
    }

    #[test]
    fn markdown_is_escaped() {
        let text = grid().markdown();
        assert!(text.contains("| Name | Count |\n| --- | ---: |\n| a_1, \"b\" | 12,345 |"));
        assert!(text.contains("| 3\\*3 \\| �\\[31m | - |\n| **Total** | **12,345** |"));
    }

    #[test]
    fn csv_is_quoted_and_plain() {
        let expected = "Name,Count\n\"a_1, \"\"b\"\"\",12345\n3*3 | �[31m,\nTotal,12345\n";
        assert_eq!(grid().csv(), expected);
    }

    #[test]
    fn latex_is_escaped() {
        let text = grid().latex();
        assert!(text.contains("\\caption{A \\& B}"));
        assert!(text.contains("a\\_1, \"b\" & 12,345 \\\\"));
    }

    #[test]
    fn a_cell_is_broken_at_spaces() {
        assert_eq!(wrap("concat .1x1, .3x3, .5x5", 18), ["concat .1x1, .3x3,", "  .5x5"]);
        assert_eq!(wrap("  unbreakable", 4), ["  unbreakable"]);
        assert_eq!(wrap("", 4), [""]);
    }
}
