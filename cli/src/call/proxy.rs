//! The proxy that the environment names, as curl takes it from there. What is on this machine is called directly.

use std::env;

use ureq::http::Uri;
use ureq::{Proxy, ProxyProtocol};

const ALWAYS_DIRECT: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The proxy for this address, or why that cannot be used.
pub fn for_address(address: &str) -> Result<Option<Proxy>, String> {
    let Ok(uri) = address.parse::<Uri>() else { return Ok(None) };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    // A server's CGI programs have what a client sends as `Proxy:` in HTTP_PROXY.
    let names: &[&str] = match uri.scheme_str() {
        Some("https") => &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
        _ => &["http_proxy", "all_proxy", "ALL_PROXY"],
    };
    let Some((name, proxy)) = first_set(names) else { return Ok(None) };
    let direct = first_set(&["no_proxy", "NO_PROXY"]).map_or(String::new(), |(_, list)| list);
    if is_direct(host, &direct) {
        return Ok(None);
    }
    let parsed = Proxy::new(&proxy).ok().filter(is_http);
    let problem =
        || format!("{name} names no HTTP proxy: set no_proxy to {host}, or {name} to another");
    parsed.map(Some).ok_or_else(problem)
}

fn is_http(proxy: &Proxy) -> bool {
    matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https)
}

fn first_set<'a>(names: &[&'a str]) -> Option<(&'a str, String)> {
    let set =
        |name: &&'a str| Some((*name, env::var(name).ok().filter(|value| !value.is_empty())?));
    names.iter().find_map(set)
}

/// Whether the host, or a domain that it is in, is in the list, which has commas or blanks in it.
fn is_direct(host: &str, list: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let is_in = |entry: &str| {
        let entry = entry.trim_start_matches('.').to_ascii_lowercase();
        let domain = host.strip_suffix(&entry);
        entry == "*" || domain.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let listed = list.split([',', ' ', '\t']).filter(|entry| !entry.trim_matches('.').is_empty());
    listed.chain(ALWAYS_DIRECT).any(is_in)
}

#[cfg(test)]
mod tests {
    use super::is_direct;

    #[test]
    fn hosts_in_the_list_are_called_directly() {
        for host in ["localhost", "127.0.0.1", "::1", "example.org", "a.Example.org", "web1"] {
            assert!(is_direct(host, ".example.org, web1"), "{host}");
        }
        for host in ["notexample.org", "web2", "10.0.0.1"] {
            assert!(!is_direct(host, ".example.org, web1 ,"), "{host}");
        }
        assert!(is_direct("anything", "*"));
    }
}
