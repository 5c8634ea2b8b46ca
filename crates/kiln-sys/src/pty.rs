//! Terminals: raw mode, window size, pseudo terminals.
