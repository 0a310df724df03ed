//! Where a control location is: `http://HOST/PATH`, `https://HOST/PATH`, `unix:/SOCKET:/PATH`.

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ureq::http::Uri;

const EXPECTED: &str = "expected http://HOST/PATH, https://HOST/PATH or unix:/SOCKET:/PATH";
const DEFAULT_PATH: &str = "/_intermission";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// As it is shown.
    text: String,
    /// What is asked for, without the name of the call: of the host `localhost` behind a socket.
    base: String,
    socket: Option<PathBuf>,
}

impl Address {
    /// The address of a call.
    pub fn of_call(&self, call: &str) -> String {
        format!("{}/{call}", self.base)
    }

    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    fn of_host(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        uri.host().filter(|host| !host.is_empty())?;
        let text = text.to_owned();
        Some(Self { base: text.clone(), text, socket: None })
    }

    fn of_socket(given: &str) -> Option<Self> {
        let (socket, path) = match given.split_once(":/") {
            Some((socket, path)) => (socket, format!("/{path}")),
            None => (given, DEFAULT_PATH.to_owned()),
        };
        let base = format!("http://localhost{path}");
        base.parse::<Uri>().ok()?;
        let text = format!("unix:{socket}:{path}");
        (socket.len() > 1).then(|| Self { text, base, socket: Some(socket.into()) })
    }
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let text = given.trim_end_matches('/');
        let text = if text.starts_with("http://unix:") { &text["http://".len()..] } else { text };
        let address = if !is_clean(text) {
            None
        } else if let Some(socket) = text.strip_prefix("unix:").filter(|rest| rest.starts_with('/'))
        {
            Self::of_socket(socket)
        } else if text.starts_with("http://") || text.starts_with("https://") {
            Self::of_host(text)
        } else {
            None
        };
        address.ok_or(EXPECTED)
    }
}

/// No blanks, no quotes, no query, and no password, which others could read in a list of processes.
fn is_clean(text: &str) -> bool {
    let unwanted = |c: char| c.is_whitespace() || c.is_control() || "'\"|\\?#".contains(c);
    let authority = text.split_once("://").map_or("", |(_, rest)| rest);
    !text.contains(unwanted) && !authority.contains('@')
}

impl Display for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_in_many_ways() {
        let cases = [
            ("http://127.0.0.1/_intermission", "http://127.0.0.1/_intermission", None),
            ("https://web1:8443/x//", "https://web1:8443/x", None),
            ("http://[::1]:80/x", "http://[::1]:80/x", None),
            ("http://web1", "http://web1", None),
            ("unix:/run/nginx.sock", "http://localhost/_intermission", Some("/run/nginx.sock")),
            ("unix:/run/nginx.sock:/a/b/", "http://localhost/a/b", Some("/run/nginx.sock")),
            ("http://unix:/run/x:/a", "http://localhost/a", Some("/run/x")),
        ];
        for (text, base, socket) in cases {
            let address = text.parse::<Address>().expect(text);
            assert_eq!(address.of_call("status"), format!("{base}/status"), "{text}");
            assert_eq!(address.socket(), socket.map(Path::new), "{text}");
        }
        let address = "unix:/run/nginx.sock".parse::<Address>().expect("a socket");
        assert_eq!(address.to_string(), "unix:/run/nginx.sock:/_intermission");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let wrong = [
            "",
            "/",
            "example.org/x",
            "ftp://example.org/x",
            "http://",
            "http:///x",
            "unix:",
            "unix:/",
            "unix:x",
            "http://unix:",
            "http://example.org/?x",
            "http://example.org/#x",
            "http://example.org/a b",
            "http://example.org/\n",
            "http://me:secret@example.org/x",
            "http://example.org/'x'",
        ];
        for text in wrong {
            assert_eq!(text.parse::<Address>(), Err(EXPECTED), "{text}");
        }
    }
}
