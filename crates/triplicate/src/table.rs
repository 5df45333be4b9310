//! Tables in restic's form: columns padded to the widest cell, a rule above and below the rows.

/// A table being filled.
#[derive(Debug)]
pub(crate) struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<Vec<String>>>,
    footer: Vec<String>,
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self { headings: headings.map(str::to_owned).to_vec(), rows: Vec::new(), footer: Vec::new() }
    }

    /// Adds a row; a cell may have several lines.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into_iter().map(|cell| cell.split('\n').map(str::to_owned).collect()).collect());
    }

    /// Adds a line below the table.
    pub(crate) fn footer(&mut self, line: impl Into<String>) {
        self.footer.push(line.into());
    }

    /// The lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        let width_of = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).flatten().map(|cell| cell.chars().count());
            let heading = self.headings.get(column).map_or(0, |heading| heading.chars().count());
            cells.max().unwrap_or(0).max(heading)
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width_of).collect();
        let rule = "-".repeat(widths.iter().sum::<usize>() + 2 * widths.len());
        let mut lines =
            vec![line(&self.headings.iter().map(String::as_str).collect::<Vec<_>>(), &widths), rule.clone()];
        for row in &self.rows {
            let height = row.iter().map(Vec::len).max().unwrap_or(0);
            for number in 0..height {
                let cells: Vec<&str> = row.iter().map(|cell| cell.get(number).map_or("", String::as_str)).collect();
                lines.push(line(&cells, &widths));
            }
        }
        lines.push(rule);
        lines.extend(self.footer.iter().cloned());
        lines
    }
}

fn line(cells: &[&str], widths: &[usize]) -> String {
    let mut text = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        text.push_str(cell);
        text.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()) + 2));
    }
    text.trim_end().to_owned()
}
