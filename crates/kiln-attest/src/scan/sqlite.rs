//! The rows of one table of an SQLite database, read from its bytes.
//!
//! RPM keeps its records in such a database. Opening a stranger's database with the SQLite library
//! would let its schema run, so that only what is needed is read here: table b-trees, overflow
//! pages, records. <https://www.sqlite.org/fileformat2.html>.
//!
//! Deliberately absent: indexes, SQL, and the write-ahead log.

/// How deep a b-tree is at most; SQLite itself says 20.
const MAX_DEPTH: usize = 20;
const MAGIC: &[u8] = b"SQLite format 3\0";

/// The value of a column; numbers that are not integers are not needed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Column {
    Integer(i64),
    Bytes(Vec<u8>),
    Other,
}

struct Database<'a> {
    bytes: &'a [u8],
    page_size: usize,
    /// A page without the space that extensions reserve.
    usable: usize,
    /// Pages that may still be visited, so that a loop ends.
    visits: usize,
    /// Bytes of rows that may still be read, so that shared pages don't multiply.
    budget: usize,
}

/// The rows of the table `name`; `None` where the database is damaged or has no such table.
pub(super) fn rows(bytes: &[u8], name: &str) -> Option<Vec<Vec<Column>>> {
    let mut database = Database::open(bytes)?;
    let root = database.root_of(name)?;
    let mut rows = Vec::new();
    database.table(root, 0, &mut rows)?;
    Some(rows)
}

impl<'a> Database<'a> {
    fn open(bytes: &'a [u8]) -> Option<Self> {
        if !bytes.starts_with(MAGIC) {
            return None;
        }
        let page_size = match number(bytes, 16, 2)? {
            1 => 65_536,
            size if size >= 512 && size.is_power_of_two() => size,
            _ => return None,
        };
        let usable = page_size.checked_sub(usize::from(*bytes.get(20)?))?;
        (usable >= 480).then_some(Self {
            bytes,
            page_size,
            usable,
            visits: bytes.len() / page_size * 2,
            budget: bytes.len() * 2,
        })
    }

    /// The root page of a table, by the schema on page 1.
    fn root_of(&mut self, name: &str) -> Option<usize> {
        let mut schema = Vec::new();
        self.table(1, 0, &mut schema)?;
        schema.iter().find_map(|row| match row.as_slice() {
            [
                Column::Bytes(kind),
                Column::Bytes(table),
                _,
                Column::Integer(root),
                ..,
            ] if kind == b"table" && table == name.as_bytes() => usize::try_from(*root).ok(),
            _ => None,
        })
    }

    fn page(&mut self, page: usize) -> Option<&'a [u8]> {
        self.visits = self.visits.checked_sub(1)?;
        let start = page.checked_sub(1)?.checked_mul(self.page_size)?;
        self.bytes.get(start..start.checked_add(self.usable)?)
    }

    fn table(&mut self, number_of: usize, depth: usize, rows: &mut Vec<Vec<Column>>) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        let page = self.page(number_of)?;
        let head = if number_of == 1 { 100 } else { 0 };
        let cells = number(page, head + 3, 2)?;
        let interior = match page.get(head)? {
            0x05 => true,
            0x0d => false,
            _ => return None,
        };
        let pointers = head + if interior { 12 } else { 8 };
        for cell in 0..cells {
            let at = number(page, pointers + cell * 2, 2)?;
            if interior {
                self.table(number(page, at, 4)?, depth + 1, rows)?;
            } else {
                let payload = self.payload(page, at)?;
                rows.push(record(&payload)?);
            }
        }
        if interior {
            self.table(number(page, head + 8, 4)?, depth + 1, rows)?;
        }
        Some(())
    }

    /// The bytes of a row: a part on its page, the rest on a chain of overflow pages.
    fn payload(&mut self, page: &[u8], at: usize) -> Option<Vec<u8>> {
        let (length, at) = varint(page, at)?;
        let (_, at) = varint(page, at)?;
        let length = usize::try_from(length).ok()?;
        self.budget = self.budget.checked_sub(length)?;
        let most = self.usable - 35;
        let least = (self.usable - 12) * 32 / 255 - 23;
        let local = if length <= most {
            length
        } else {
            let fitting = least + (length - least) % (self.usable - 4);
            if fitting <= most { fitting } else { least }
        };
        let end = at.checked_add(local)?;
        let mut payload = page.get(at..end)?.to_vec();
        if local == length {
            return Some(payload);
        }
        let mut next = number(page, end, 4)?;
        while payload.len() < length {
            let overflow = self.page(next)?;
            next = number(overflow, 0, 4)?;
            let rest = (length - payload.len()).min(self.usable - 4);
            payload.extend_from_slice(overflow.get(4..4 + rest)?);
        }
        Some(payload)
    }
}

/// The columns of a row.
fn record(payload: &[u8]) -> Option<Vec<Column>> {
    let (head, mut at) = varint(payload, 0)?;
    let head = usize::try_from(head).ok()?;
    let mut columns = Vec::new();
    let mut body = head;
    while at < head {
        let (kind, next) = varint(payload, at)?;
        at = next;
        let size = match kind {
            0 | 8..=11 => 0,
            1..=4 => usize::try_from(kind).ok()?,
            5 => 6,
            6 | 7 => 8,
            kind => usize::try_from((kind - 12) / 2).ok()?,
        };
        let bytes = payload.get(body..body.checked_add(size)?)?;
        body += size;
        columns.push(match kind {
            8 => Column::Integer(0),
            9 => Column::Integer(1),
            1..=6 => Column::Integer(integer(bytes)),
            0 | 7 | 10 | 11 => Column::Other,
            _ => Column::Bytes(bytes.to_vec()),
        });
    }
    Some(columns)
}

/// A big-endian integer with a sign.
fn integer(bytes: &[u8]) -> i64 {
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let start = if negative { -1 } else { 0 };
    let bytes = bytes.iter();
    bytes.fold(start, |number: i64, byte| number << 8 | i64::from(*byte))
}

fn number(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(length)?)?.iter();
    Some(bytes.fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

/// A number of one to nine bytes, and where the next thing begins.
fn varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for index in 0..9 {
        let byte = *bytes.get(at.checked_add(index)?)?;
        if index == 8 {
            return Some((value << 8 | u64::from(byte), at + 9));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, at + index + 1));
        }
    }
    None
}
