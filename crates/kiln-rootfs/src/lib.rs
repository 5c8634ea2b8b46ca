//! From an image's files to a disk that a microVM boots.
//!
//! Everything here works on a [`kiln_disk::Tree`], the image's layers merged: rules that make it
//! smaller or safer, an init with its configuration, and what is said of the result. The engine
//! makes the tree from a store, and a writer of `kiln-disk` turns it into a disk.
//!
//! Deliberately absent: where images come from (`kiln-engine`), and the formats of disks
//! (`kiln-disk`).

pub mod boot;
pub mod elf;
pub mod harden;
pub mod init;
pub mod initrd;
pub mod manifest;
pub mod optimise;
pub mod packages;
pub mod paths;
pub mod reach;
pub mod request;
pub mod sbom;
pub mod sign;
pub mod spec;
pub mod vmm;
