//! Patterns of `intermission_privileged_user_agent`.

use crate::nginx::ffi::configuring::Configuring;
use crate::nginx::ffi::regex::Regex;

/// What a user agent is compared with.
#[derive(Clone)]
pub enum Agent {
    Part(Vec<u8>),
    Regex(Regex),
}

impl Agent {
    /// Reads a pattern: a substring, `~regex`, or `~*regex` for any case.
    pub fn parse(cf: &Configuring<'_>, pattern: &[u8]) -> Result<Self, String> {
        if pattern.is_empty() {
            return Err("expected a part of a user agent, \"~regex\" or \"~*regex\"".to_owned());
        }
        let Some(rest) = pattern.strip_prefix(b"~") else {
            return Ok(Self::Part(pattern.to_vec()));
        };
        let (regex, any_case) = match rest.strip_prefix(b"*") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        Regex::compile(cf, regex, any_case).map(Self::Regex)
    }

    pub fn matches(&self, agent: &[u8]) -> bool {
        match self {
            Self::Part(part) => agent.windows(part.len()).any(|window| window == part.as_slice()),
            Self::Regex(regex) => regex.matches(agent),
        }
    }
}
