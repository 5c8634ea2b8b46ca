//! Images and indexes as immutable values; OCI layout and archive sources and sinks.
