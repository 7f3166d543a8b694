//! Columns of text.

/// Lines in which the cells of a column begin below each other. The last column is not padded.
pub(super) fn lines<const N: usize>(rows: &[[String; N]], indent: &str) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let cells: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(indent);
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn columns_begin_below_each_other() {
        let rows = [["a", "é", "x"], ["long", "", "y"]].map(|row| row.map(str::to_owned));
        assert_eq!(lines(&rows, "- "), "- a     é  x\n- long     y\n");
    }
}
