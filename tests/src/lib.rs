//! End-to-end tests live in `e2e/`, a test binary of its own; this library is empty.
