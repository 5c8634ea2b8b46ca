//! One process in one root: namespaces, seccomp, capabilities, masked paths.
