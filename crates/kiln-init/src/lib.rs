//! The first process of a microVM that runs an image's program, and what others must know of it.
//!
//! The program `kiln-init` is linked statically and put on a disk with one document,
//! [`config::PATH`], that says what to run and how ([`config`]). The kernel starts it as process 1.
//! It prepares the machine as a container's program expects it, starts the program as a child,
//! reaps whatever ends, forwards signals, says on the console how it went ([`report`]), and ends
//! the machine when the program has ended.
//!
//! # Signals
//!
//! `SIGTERM`, `SIGPWR` and Ctrl-Alt-Del ask the machine to stop: the program gets its stop signal, and
//! is killed when it has not ended in time. Every other signal that a process sends to process 1 is
//! sent to the program as it is.
//!
//! # Exit codes
//!
//! The code of the program, or one of these, as Docker has them: 125 the machine could not be
//! prepared (the document, a mount, the user), 126 the program can't be executed, 127 it, or its
//! interpreter, is not there.
//!
//! # The initial file system
//!
//! Where a kernel has a disk's driver or file system as modules, or the disk is to be verified, the
//! same program is `/init` of an initial file system ([`initrd`]): it loads what is there, finds the
//! root, verifies it if it was told to, mounts it and goes on there with what `init=` names.
//!
//! # The kernel command line
//!
//! A disk needs nothing but `init=`. [`cmdline`] has what else is understood. Environment and
//! secrets are in the document, which only root can read, and are never printed.
//!
//! Deliberately absent: making disks, and a choice of what to run (`kiln-rootfs`).

pub mod cmdline;
pub mod config;
pub mod initrd;
pub mod interpreter;
pub mod report;
pub mod users;
