//! Bringing what is new and what was known before together, in order and with little memory.

use std::cmp::Ordering;
use std::io;

use super::table::{Block, Record, Table, order};
use super::{Fresh, StatCache};

/// One of the sorted sources, and where in it the merge is.
enum Cursor<'a> {
    Table {
        table: &'a Table,
        /// The number of the next block.
        next: usize,
        block: Block,
        index: usize,
    },
    Memory {
        fresh: &'a Fresh,
        order: Vec<usize>,
        index: usize,
    },
}

/// Calls `visit` for each path, in order, with what was put last for it; and with its number, if
/// that was known before.
pub(super) fn merge(
    cache: &StatCache,
    fresh: &Fresh,
    mut visit: impl FnMut(Option<usize>, Record<'_>) -> io::Result<()>,
) -> io::Result<()> {
    // The newest first, and what was known before last.
    let mut cursors = vec![Cursor::Memory {
        fresh,
        order: fresh.sorted(),
        index: 0,
    }];
    let tables = fresh.spilled.iter().rev().chain([&cache.known]);
    cursors.extend(tables.map(Cursor::of));
    let known = cursors.len() - 1;
    // The cursors by path and age. Sources are mostly of one part of the tree each, so that the
    // first stays first for a long time.
    let mut queue: Vec<usize> = (0..cursors.len()).collect();
    queue.retain(|number| cursors[*number].path().is_some());
    queue.sort_by(|a, b| compare(&cursors, *a, *b));
    while let Some(&first) = queue.first() {
        if let Some(record) = cursors[first].record() {
            let number = (first == known).then(|| cursors[first].number());
            visit(number, record)?;
        }
        while queue.len() > 1 && cursors[queue[1]].path() == cursors[first].path() {
            advance(&mut cursors, &mut queue, 1);
        }
        advance(&mut cursors, &mut queue, 0);
    }
    Ok(())
}

fn compare(cursors: &[Cursor<'_>], a: usize, b: usize) -> Ordering {
    let path = |number: usize| cursors[number].path().unwrap_or_default();
    order(path(a), path(b)).then(a.cmp(&b))
}

/// Moves the cursor at this place of the queue on, and to its new place.
fn advance(cursors: &mut [Cursor<'_>], queue: &mut Vec<usize>, mut place: usize) {
    let number = queue[place];
    cursors[number].advance();
    if cursors[number].path().is_none() {
        queue.remove(place);
        return;
    }
    while let Some(next) = queue.get(place + 1) {
        if compare(cursors, number, *next) == Ordering::Less {
            break;
        }
        queue.swap(place, place + 1);
        place += 1;
    }
}

impl<'a> Cursor<'a> {
    fn of(table: &'a Table) -> Self {
        let mut cursor = Self::Table {
            table,
            next: 0,
            block: Block::default(),
            index: 0,
        };
        cursor.settle();
        cursor
    }

    fn path(&self) -> Option<&[u8]> {
        match self {
            Self::Table { block, index, .. } => block.path(*index),
            Self::Memory {
                fresh,
                order,
                index,
            } => Some(fresh.path(*order.get(*index)?)),
        }
    }

    fn record(&self) -> Option<Record<'_>> {
        match self {
            Self::Table { block, index, .. } => block.record(*index),
            Self::Memory {
                fresh,
                order,
                index,
            } => Some(fresh.record(*order.get(*index)?)),
        }
    }

    /// The number of the record in its table.
    fn number(&self) -> usize {
        match self {
            Self::Table {
                table, next, index, ..
            } => table.first_of(next - 1) + index,
            Self::Memory { index, .. } => *index,
        }
    }

    fn advance(&mut self) {
        match self {
            Self::Table { index, .. } | Self::Memory { index, .. } => *index += 1,
        }
        self.settle();
    }

    /// Goes to the next record that can be read.
    fn settle(&mut self) {
        let Self::Table {
            table,
            next,
            block,
            index,
        } = self
        else {
            return;
        };
        while block.path(*index).is_none() {
            if *index < block.count() {
                *index += 1;
            } else if *next < table.blocks() {
                table.read(*next, block);
                *next += 1;
                *index = 0;
            } else {
                return;
            }
        }
    }
}
