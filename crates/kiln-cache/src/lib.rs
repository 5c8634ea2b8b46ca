//! Build caches that travel between machines.
