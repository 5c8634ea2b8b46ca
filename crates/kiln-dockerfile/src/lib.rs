//! Dockerfile text to a syntax tree with spans and diagnostics; variable expansion; ignore patterns.
