//! A base image from a distribution's packages, without a registry.
