//! Helpers for tests: text trees, random images, temporary stores.
