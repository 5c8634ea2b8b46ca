//! The smallest HTTP client that can ask a server under test.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Asks `127.0.0.1:port` for `path`; the answer with its head, or why there is none.
pub fn get(port: u16, path: &str) -> Result<String, String> {
    let ask = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    ask().map_err(|error| error.to_string())
}

/// Asks until `enough` says that the answer will do, at most for half a minute. Gives the last
/// answer, or the last reason for having none.
pub fn wait_for(port: u16, path: &str, enough: impl Fn(&str) -> bool) -> Result<String, String> {
    let started = Instant::now();
    loop {
        let answer = get(port, path);
        let done = answer.as_ref().is_ok_and(|answer| enough(answer));
        if done || started.elapsed() > Duration::from_secs(30) {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
