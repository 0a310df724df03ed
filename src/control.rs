//! The language of the control location: calls, their arguments, and what is answered.
//!
//! Nothing in here knows nginx, so all of it can be tested, and attacked, by itself.

pub mod args;
pub mod metrics;
pub mod report;
#[cfg(test)]
mod tests;
pub mod values;

/// What is asked for, by the last segment of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Status,
    Enable,
    Disable,
    Maintenance,
    Metrics,
    Dashboard,
}

/// The calls there are, for the error that lists them.
pub const CALLS: &str = "status, enable, disable, maintenance, metrics";

impl Call {
    pub fn of_path(path: &[u8]) -> Option<Self> {
        let mut segments = path.rsplit(|byte| *byte == b'/');
        match segments.next()? {
            b"status" => Some(Self::Status),
            b"enable" => Some(Self::Enable),
            b"disable" => Some(Self::Disable),
            b"maintenance" => Some(Self::Maintenance),
            b"metrics" => Some(Self::Metrics),
            // What is below a call is neither that call nor the dashboard.
            b"" if !segments.next().is_some_and(names_call) => Some(Self::Dashboard),
            _ => None,
        }
    }

    pub fn changes_state(self) -> bool {
        match self {
            Self::Status | Self::Metrics | Self::Dashboard => false,
            Self::Enable | Self::Disable | Self::Maintenance => true,
        }
    }

    /// The methods that the call answers to, as `Allow` lists them.
    pub fn methods(self) -> &'static str {
        if self.changes_state() { "GET, POST, PUT" } else { "GET, HEAD" }
    }

    pub fn allows(self, method: &[u8]) -> bool {
        self.methods().split(", ").any(|allowed| allowed.as_bytes() == method)
    }

    /// The arguments that the call knows, besides those that all know.
    pub fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Status | Self::Metrics | Self::Dashboard => &[],
            Self::Enable => &["for", "drain", "settle", "keep", "pause"],
            Self::Disable => &["rate", "burst", "concurrency", "canary", "for", "pause"],
            Self::Maintenance => &["retry_after"],
        }
    }
}

fn names_call(segment: &[u8]) -> bool {
    CALLS.split(", ").any(|name| name.as_bytes() == segment)
}

/// The state a call left, in the words of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    Enabled,
    AlreadyEnabled,
    Disabled,
    AlreadyDisabled,
    Maintenance,
}

impl Done {
    pub fn line(self) -> &'static str {
        match self {
            Self::Enabled => "Pause enabled.",
            Self::AlreadyEnabled => "Pause already enabled.",
            Self::Disabled => "Pause disabled.",
            Self::AlreadyDisabled => "Pause already disabled.",
            Self::Maintenance => "Maintenance enabled.",
        }
    }
}

/// Whether a browser makes the request on behalf of another site than the one it is sent to.
pub fn is_cross_site(fetch_site: Option<&[u8]>, origin: Option<&[u8]>, host: &[u8]) -> bool {
    let foreign_fetch = fetch_site.is_some_and(|site| site != b"same-origin" && site != b"none");
    let is_host =
        |origin| origin_host(origin).is_some_and(|origin| origin.eq_ignore_ascii_case(host));
    foreign_fetch || origin.is_some_and(|origin| !is_host(origin))
}

/// Whether a browser makes the request, and does not say on behalf of which site: to addresses that it
/// does not trust (plain http, but for this machine's own) it sends no `Sec-Fetch-Site`, and `Origin`
/// goes with no image, link or redirect. All browsers call themselves Mozilla, and no page can change
/// that.
pub fn is_silent_browser(
    fetch_site: Option<&[u8]>,
    origin: Option<&[u8]>,
    user_agent: Option<&[u8]>,
) -> bool {
    let is_browser = user_agent.is_some_and(|agent| agent.starts_with(b"Mozilla/"));
    is_browser && fetch_site.is_none() && origin.is_none()
}

fn origin_host(origin: &[u8]) -> Option<&[u8]> {
    let host = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
    host.filter(|host| !host.is_empty())
}

/// Whether an `Accept` header names JSON.
pub fn accepts_json(accept: &[u8]) -> bool {
    accept.split(|byte| *byte == b',').any(|range| {
        let kind = range.split(|byte| *byte == b';').next().unwrap_or_default();
        kind.trim_ascii().eq_ignore_ascii_case(b"application/json")
    })
}
