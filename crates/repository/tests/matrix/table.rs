//! The operations matrix as the crate's documentation has it: what is written there is what the tests hold operations to.

use std::collections::{BTreeMap, BTreeSet};

use crate::operations::OPERATIONS;

const DOCUMENTATION: &str = include_str!("../../src/lib.rs");

/// What the table says of one operation that begins while another one runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell {
    /// Both come to a good end.
    Safe,
    /// The lock of the running one keeps the other out, or makes it wait with `--retry-lock`.
    Locked,
}

/// The table: (begins, runs) to what is said of it.
#[derive(Debug, Clone)]
pub(crate) struct Table(BTreeMap<(String, String), Cell>);

impl Table {
    /// Reads it from the documentation.
    pub(crate) fn read() -> Self {
        let lines = DOCUMENTATION.lines().filter_map(|line| line.strip_prefix("//! | "));
        let mut rows = lines.skip_while(|line| !line.starts_with("begins \\ runs"));
        let columns = cells(rows.next().expect("the documentation has an operations matrix"));
        let mut table = BTreeMap::new();
        for row in rows.take_while(|row| !row.starts_with("operation")) {
            let row = cells(row);
            for (runs, said) in columns.iter().zip(&row).skip(1) {
                let cell = match said.as_str() {
                    "safe" => Cell::Safe,
                    "lock" => Cell::Locked,
                    // Two of restic's own: not ours to promise.
                    "-" => continue,
                    other => panic!("`{other}` means nothing in the operations matrix"),
                };
                table.insert((row[0].clone(), runs.clone()), cell);
            }
        }
        Self(table)
    }

    /// What it says.
    pub(crate) fn cell(&self, begins: &str, runs: &str) -> Cell {
        let key = (begins.to_owned(), runs.to_owned());
        *self
            .0
            .get(&key)
            .unwrap_or_else(|| panic!("the operations matrix has no cell for `{begins}` while `{runs}` runs"))
    }
}

fn cells(row: &str) -> Vec<String> {
    row.trim_end_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

#[test]
fn the_table_has_a_cell_for_every_pair() {
    let table = Table::read();
    let with_lock = OPERATIONS.iter().filter(|operation| operation.lock.is_some());
    let ours: BTreeSet<&str> = with_lock.map(|operation| operation.row).collect();
    let theirs = crate::beside_restic::ROWS;
    for own in &ours {
        for other in ours.iter().chain(&theirs) {
            table.cell(own, other);
            table.cell(other, own);
        }
    }
    let cells = ours.len() * (ours.len() + 2 * theirs.len());
    assert_eq!(table.0.len(), cells, "a row or a column of the table stands for no operation");
}
