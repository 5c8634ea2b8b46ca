//! File tree changes to tar to compressed blob, and back; deterministic by construction.
