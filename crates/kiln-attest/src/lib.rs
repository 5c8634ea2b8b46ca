//! What is said about an image: SPDX bills of materials and SLSA provenance.
