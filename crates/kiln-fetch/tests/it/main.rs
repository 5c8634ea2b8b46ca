//! Fetching from servers in this process: git's own, over three protocols, and files over HTTP.

mod git;
mod http;
mod server;
mod support;
mod tls;
