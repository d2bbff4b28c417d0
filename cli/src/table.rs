//! Tables of text, with columns as kubectl lines them up.

use crate::terminal::clean;

/// The head and the rows, each cell as wide as the widest of its column.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| flat(cell)).collect())
        .collect();
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let head = head.iter().map(ToString::to_string).collect();
    std::iter::once(&head)
        .chain(&rows)
        .map(|row| line(row, &widths))
        .collect()
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let padded = cells
        .iter()
        .zip(widths)
        .map(|(cell, &width)| format!("{cell:<width$}"));
    format!("{}\n", padded.collect::<Vec<_>>().join("   ").trim_end())
}

/// A cell is one line and steers no terminal.
fn flat(cell: &str) -> String {
    clean(cell).replace(['\n', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_line_up_and_lines_have_no_tail() {
        let rows = [
            vec!["vm1".into(), "Succeeded".into()],
            vec!["long-name".into(), String::new()],
        ];
        assert_eq!(
            table(&["TARGET", "STATE"], &rows),
            "TARGET      STATE\nvm1         Succeeded\nlong-name\n"
        );
    }

    #[test]
    fn a_cell_cannot_break_its_line() {
        assert_eq!(table(&["A"], &[vec!["x\ny\u{1b}[2J".into()]]), "A\nx y\n");
    }
}
