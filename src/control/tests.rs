mod args;
mod report;
mod values;

use proptest::prelude::*;

use super::*;

const CALLS_KNOWN: [(Call, &str); 5] = [
    (Call::Status, "status"),
    (Call::Enable, "enable"),
    (Call::Disable, "disable"),
    (Call::Maintenance, "maintenance"),
    (Call::Metrics, "metrics"),
];

#[test]
fn the_last_segment_names_the_call() {
    for (call, name) in CALLS_KNOWN {
        assert_eq!(Call::of_path(format!("/deep/down/{name}").as_bytes()), Some(call));
        assert_eq!(Call::of_path(name.as_bytes()), Some(call));
        assert_eq!(Call::of_path(format!("/{name}s").as_bytes()), None);
        assert_eq!(Call::of_path(format!("/{}", name.to_uppercase()).as_bytes()), None);
        assert_eq!(Call::of_path(format!("/{name}/").as_bytes()), None, "nothing is below a call");
        assert_eq!(Call::of_path(format!("/{name}\0").as_bytes()), None);
    }
    assert_eq!(CALLS, CALLS_KNOWN.map(|(_, name)| name).join(", "));
}

#[test]
fn the_dashboard_has_no_name() {
    assert_eq!(Call::of_path(b"/intermission/"), Some(Call::Dashboard));
    assert_eq!(Call::of_path(b"/"), Some(Call::Dashboard));
    assert_eq!(Call::of_path(b"/intermission"), None);
}

#[test]
fn only_what_changes_nothing_takes_head() {
    for (call, _) in CALLS_KNOWN {
        let changes = matches!(call, Call::Enable | Call::Disable | Call::Maintenance);
        assert!(call.allows(b"GET"));
        assert_eq!(call.allows(b"HEAD"), !changes, "{call:?}");
        assert_eq!(call.allows(b"POST"), changes, "{call:?}");
        assert_eq!(call.allows(b"PUT"), changes, "{call:?}");
        for other in ["DELETE", "OPTIONS", "get", "GET, POST", "GET,", "", " GET"] {
            assert!(!call.allows(other.as_bytes()), "{call:?} {other:?}");
        }
    }
}

#[test]
fn other_sites_are_told_by_what_browsers_send() {
    let crosses = |site: Option<&str>, origin: Option<&str>| {
        is_cross_site(site.map(str::as_bytes), origin.map(str::as_bytes), b"ops.test:8080")
    };
    for (site, origin) in [
        (None, None),
        (Some("none"), None),
        (Some("same-origin"), None),
        (Some("same-origin"), Some("http://ops.test:8080")),
        (None, Some("https://ops.test:8080")),
        (None, Some("http://OPS.test:8080")),
    ] {
        assert!(!crosses(site, origin), "{site:?} {origin:?}");
    }
    for (site, origin) in [
        (Some("cross-site"), None),
        (Some("same-site"), None),
        (Some(""), None),
        (Some("Same-Origin"), None),
        (Some("none, cross-site"), None),
        (None, Some("null")),
        (None, Some("")),
        (None, Some("http://")),
        (None, Some("http://ops.test")),
        (None, Some("http://ops.test:80801")),
        (None, Some("http://evil.test")),
        (None, Some("http://evil.test/ops.test:8080")),
        (None, Some("http://ops.test:8080.evil.test")),
        (None, Some("ftp://ops.test:8080")),
        (None, Some("ops.test:8080")),
        (Some("same-origin"), Some("http://evil.test")),
        (Some("cross-site"), Some("http://ops.test:8080")),
    ] {
        assert!(crosses(site, origin), "{site:?} {origin:?}");
    }
    assert!(is_cross_site(None, Some(b"http://"), b""), "no host is that of no page");
}

#[test]
fn a_browser_says_whose_page_it_is() {
    let is_silent = |site: Option<&str>, origin: Option<&str>, agent: Option<&str>| {
        is_silent_browser(
            site.map(str::as_bytes),
            origin.map(str::as_bytes),
            agent.map(str::as_bytes),
        )
    };
    let browser = Some("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0");
    assert!(is_silent(None, None, browser));
    assert!(!is_silent(Some("none"), None, browser));
    assert!(!is_silent(None, Some("http://ops.test"), browser));
    for agent in [None, Some(""), Some("curl/8.5.0"), Some("deploy (not Mozilla/5.0)")] {
        assert!(!is_silent(None, None, agent), "{agent:?}");
    }
}

#[test]
fn json_is_given_to_who_names_it() {
    for accept in ["application/json", "text/html, Application/JSON;q=0.5", " application/json "] {
        assert!(accepts_json(accept.as_bytes()), "{accept:?}");
    }
    for accept in ["", "*/*", "application/*", "application/json5", "text/plain;x=application/json"]
    {
        assert!(!accepts_json(accept.as_bytes()), "{accept:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = (Call::of_path(&bytes), accepts_json(&bytes));
        let _ = is_cross_site(Some(&bytes), Some(&bytes), &bytes);
    }
}
