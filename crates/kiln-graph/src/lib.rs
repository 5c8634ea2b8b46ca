//! Content-addressed build steps.
