//! Content store, snapshots, cache index, leases and garbage collection.
