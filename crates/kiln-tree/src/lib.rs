//! File trees: select by pattern, digest by content, copy into a root.
