//! Builds, graphs and images drawn for people.
