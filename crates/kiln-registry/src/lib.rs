//! Distribution client: resolve, pull, push, authentication, mirrors.
