//! Git repositories and HTTP downloads as build inputs.
