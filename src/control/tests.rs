use proptest::prelude::*;
use std::time::Duration;

use super::args::{Args, BadArgument, Disable, Enable, retry_after, shown};
use super::report::{Report, quoted};
use super::*;
use crate::gate::State;
use crate::gate::outage::Tally;
use crate::gate::policy::{MAX_COUNT, MAX_RATE, Policy};
use crate::gate::totals::Totals;

const CALLS_KNOWN: [(Call, &str); 5] = [
    (Call::Status, "status"),
    (Call::Enable, "enable"),
    (Call::Disable, "disable"),
    (Call::Maintenance, "maintenance"),
    (Call::Metrics, "metrics"),
];

fn parse(call: Call, query: &str) -> Result<Args<'_>, BadArgument> {
    Args::parse(call, query.as_bytes())
}

fn complaint<T>(result: Result<T, BadArgument>) -> String {
    result.err().expect("it is refused").0
}

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

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
fn arguments_are_decoded() {
    let args =
        parse(Call::Enable, "for=1m%2030s&app=caf%C3%A9+au%2blait&&").expect("they are good");
    assert_eq!(args.get("for"), Some(&b"1m 30s"[..]));
    assert_eq!(args.get("app"), Some("café au+lait".as_bytes()));
    assert_eq!(args.get("drain"), None);
    let nul = parse(Call::Status, "app=a%00b").expect("a byte like any other");
    assert_eq!(nul.get("app"), Some(&b"a\0b"[..]));
}

#[test]
fn an_argument_without_a_value_is_empty() {
    for query in ["app", "app="] {
        assert_eq!(parse(Call::Status, query).expect("it is good").get("app"), Some(&b""[..]));
    }
    assert_eq!(parse(Call::Status, "app==x").expect("good").get("app"), Some(&b"=x"[..]));
}

#[test]
fn what_is_wrong_with_the_arguments_is_named() {
    for (query, complaint_begins) in [
        ("app=a&app=b", "argument \"app\" is given twice"),
        ("app=a&app", "argument \"app\" is given twice"),
        (
            "rate=5r/s",
            "unknown argument \"rate\": this call knows for, drain, settle, keep, pause, app, format",
        ),
        ("For=5s", "unknown argument \"For\""),
        ("a%70p=x", "unknown argument \"a%70p\""),
        ("=x", "unknown argument \"\""),
        ("a\"\nb=x", "unknown argument \"a??b\""),
        ("app=%", "argument \"app\" has a broken escape"),
        ("app=%4", "argument \"app\" has a broken escape"),
        ("app=%4g", "argument \"app\" has a broken escape"),
        ("app=%+4", "argument \"app\" has a broken escape"),
        ("app=%é", "argument \"app\" has a broken escape"),
    ] {
        let complaint = complaint(parse(Call::Enable, query));
        assert!(complaint.starts_with(complaint_begins), "{query:?}: {complaint}");
    }
}

#[test]
fn a_long_query_costs_little_and_is_not_repeated() {
    let unknown = "x".repeat(1_000_000);
    assert!(complaint(parse(Call::Status, &unknown)).len() < 300);
    let known = format!("app={}", "%41".repeat(100_000));
    assert_eq!(
        parse(Call::Status, &known).expect("good").get("app").map(<[u8]>::len),
        Some(100_000)
    );
    let many = "app=1&".repeat(100_000);
    assert!(complaint(parse(Call::Status, &many)).starts_with("argument \"app\" is given twice"));
    assert!(parse(Call::Status, &"&".repeat(100_000)).is_ok());
}

#[test]
fn enable_takes_times_and_a_flag() {
    let enable = |query| parse(Call::Enable, query).and_then(|args| Enable::parse(&args));
    assert_eq!(enable(""), Ok(Enable::default()));
    let whole = enable("for=30s&drain=500ms&keep=1").expect("good");
    assert_eq!((whole.lasts, whole.keep), (seconds(30), true));
    assert_eq!(whole.drain, Some(Duration::from_millis(500)));
    assert_eq!(enable("for=1d").expect("good").lasts, seconds(86_400));
    assert!(!enable("drain=1&keep=0").expect("good").keep);
    for (query, names) in [
        ("for=0", "\"for\" is \"0\""),
        ("for=", "\"for\" is \"\""),
        ("for=1y", "\"for\" is \"1y\""),
        ("for=86401", "at most 1d"),
        ("for=-1s", "\"for\" is \"-1s\""),
        ("drain=1w", "\"drain\""),
        ("drain=0ms", "\"drain\""),
        ("keep=1", "\"keep\" goes with \"drain\""),
        ("drain=1s&keep=yes", "\"keep\" is \"yes\": expected 0 or 1"),
        ("drain=1s&keep", "\"keep\" is \"\""),
    ] {
        let complaint = complaint(enable(query));
        assert!(complaint.contains(names), "{query:?}: {complaint}");
    }
}

fn disable(query: &str, policy: Policy) -> Result<Disable, BadArgument> {
    parse(Call::Disable, query).and_then(|args| Disable::parse(&args, policy))
}

#[test]
fn disable_takes_what_it_is_not_told_from_the_location() {
    let place = Policy { rate: 500, burst: 20, concurrency: 7, timeout_ms: 1234 };
    assert_eq!(
        disable("", place),
        Ok(Disable { policy: place, canary: 0, lasts: None, pause: None })
    );
    let paced = disable("rate=100r/s&concurrency=3&canary=5", place).expect("good");
    let policy = Policy { rate: 100, burst: 0, concurrency: 3, timeout_ms: 1234 };
    assert_eq!(
        paced,
        Disable { policy, canary: 5, lasts: None, pause: None },
        "another rate does not keep the burst"
    );
    let lasting = disable("canary=1&for=30s", place).expect("good");
    assert_eq!(lasting.lasts, Some(Duration::from_secs(30)));
    assert_eq!(complaint(disable("for=30s", place)), "argument \"for\" goes with \"canary\"");
    assert_eq!(disable("burst=9", place).expect("good").policy.burst, 9);
    let most = format!("rate={MAX_RATE}r/s&burst={MAX_COUNT}&concurrency={MAX_COUNT}&canary=1");
    assert!(disable(&most, Policy::default()).is_ok());
}

#[test]
fn disable_names_what_is_out_of_range() {
    for query in [
        "rate=0r/s",
        "rate=-1r/s",
        "rate=1000001r/s",
        "rate=5",
        "rate=5r/m",
        "rate=5 r/s",
        "rate=+5r/s",
        "rate=5r/sr/s",
        "rate=4294967297r/s",
        "rate=99999999999999999999999r/s",
        "rate=r/s",
        "rate=",
        "concurrency=0",
        "concurrency=1000001",
        "concurrency=1.5",
        "concurrency=0x10",
        "canary=x",
        "canary=0",
        "canary=18446744073709551616",
        "burst=0",
        "rate=5r/s&burst=",
    ] {
        let name =
            query.rsplit('&').next().and_then(|last| last.split('=').next()).expect("a name");
        let complaint = complaint(disable(query, Policy::default()));
        assert!(complaint.contains(&format!("\"{name}\"")), "{query}: {complaint}");
        assert!(complaint.contains("expected"), "{query}: {complaint}");
    }
}

#[test]
fn a_burst_goes_with_a_rate_that_it_can_keep() {
    assert!(complaint(disable("burst=5", Policy::default())).contains("goes with \"rate\""));
    assert!(disable("rate=5000r/s&burst=5", Policy::default()).is_ok());
    assert!(complaint(disable("rate=5001r/s&burst=5", Policy::default())).contains("at least 6"));
}

#[test]
fn maintenance_takes_whole_seconds() {
    let told = |query| parse(Call::Maintenance, query).and_then(|args| retry_after(&args));
    assert_eq!(told(""), Ok(0));
    assert_eq!(told("retry_after=2m"), Ok(120));
    assert_eq!(told("retry_after=1d"), Ok(86_400));
    for query in ["retry_after=0", "retry_after=999ms", "retry_after=86401", "retry_after=soon"] {
        assert!(complaint(told(query)).contains("\"retry_after\""), "{query}");
    }
}

#[test]
fn times_are_written_as_nginx_has_them() {
    for (text, millis) in [
        ("0", 0),
        ("5", 5_000),
        ("30s", 30_000),
        ("250ms", 250),
        ("1m", 60_000),
        ("1h", 3_600_000),
        ("1d", 86_400_000),
        ("1w", 7 * 86_400_000),
        ("1M", 30 * 86_400_000),
        ("1y", 365 * 86_400_000),
        ("1h30m", 5_400_000),
        ("1h 30m", 5_400_000),
        ("1m 30", 90_000),
        ("1m30", 90_000),
        ("1d 1h 1m 1s 1ms", 90_061_001),
        ("007s", 7_000),
    ] {
        assert_eq!(values::time(text.as_bytes()), Some(Duration::from_millis(millis)), "{text:?}");
    }
}

#[test]
fn what_is_no_time_is_refused() {
    for text in [
        "",
        " ",
        "s",
        "ms",
        " 5s",
        "5s ",
        "5  s",
        "5 s",
        "-5s",
        "+5s",
        "5.5s",
        "5x",
        "5S",
        "1s1m",
        "1m 1h",
        "1h 1h",
        "5 5",
        "5s5s",
        "1e3",
        "0x5",
        "٣s",
        "5s\0",
        "1,5s",
        "2y",
        "366d",
        "1y 1ms",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999999s",
        "18446744073709551615y",
    ] {
        assert_eq!(values::time(text.as_bytes()), None, "{text:?}");
    }
    assert_eq!(values::time(b"1y"), Some(values::MAX_TIME));
    assert_eq!(values::time(b"\xff5s"), None);
}

#[test]
fn numbers_have_no_sign_and_no_blanks() {
    assert_eq!(values::number(b"0"), Some(0));
    assert_eq!(values::number(b"18446744073709551615"), Some(u64::MAX));
    for text in ["", "-1", "+1", " 1", "1 ", "1a", "1.0", "18446744073709551616", "\u{0661}"] {
        assert_eq!(values::number(text.as_bytes()), None, "{text:?}");
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

#[test]
fn json_strings_are_safe_in_pages_too() {
    assert_eq!(quoted("a\"b\\c\nd\te\u{0}\u{7f}"), r#""a\"b\\c\nd\u0009e\u0000\u007f""#);
    assert_eq!(quoted("</script>&"), r#""\u003c/script\u003e\u0026""#);
    assert_eq!(quoted("\u{2028}é🚦"), "\"\\u2028é🚦\"");
}

fn report(app: &[u8]) -> Report {
    Report {
        app: app.to_vec(),
        state: State::Paused,
        pause: Some(1_795_000_000_000),
        held: 3,
        in_flight: 2,
        upgraded: 1,
        oldest_wait_ms: 4210,
        since: Some("2026-11-21T09:00:00Z".to_owned()),
        resumes_at: None,
        last_abandoned_ms: Some(1500),
        uncounted_processes: 0,
        totals: Totals { held: 12, released: 9, bypassed: 4, abandoned: 1, ..Totals::default() },
        outages: Tally { outages: 1, taken_back: 5, expired: 2, probes: 40 },
    }
}

#[test]
fn a_report_is_as_the_readme_has_it() {
    assert_eq!(
        report(b"default").json(),
        "{\"app\":\"default\",\"state\":\"paused\",\"held\":3,\"in_flight\":2,\"upgraded\":1,\
         \"oldest_wait_ms\":4210,\"since\":\"2026-11-21T09:00:00Z\",\"resumes_at\":null,\
         \"pause\":1795000000000,\"last_abandoned_ms\":1500,\"uncounted_processes\":0,\
         \"totals\":{\"held\":12,\"released\":9,\"timed_out\":0,\"aborted\":0,\"rejected\":0,\
         \"bypassed\":4,\"abandoned\":1,\"outages\":1,\"taken_back\":5,\"expired\":2,\"probes\":40}}"
    );
    let text = report(b"default").text();
    assert!(text.starts_with("app: default\nstate: paused\nheld: 3\nin_flight: 2\nupgraded: 1\n"));
    let totals = "total_bypassed: 4\ntotal_abandoned: 1\ntotal_outages: 1\ntotal_taken_back: 5\n\
                  total_expired: 2\ntotal_probes: 40\n";
    assert!(text.ends_with(totals), "{text}");
    assert!(
        text.contains("\nresumes_at: -\npause: 1795000000000\nlast_abandoned_ms: 1500\n"),
        "{text}"
    );
}

#[test]
fn each_state_has_a_line_of_its_own() {
    let line = |state| Report { state, ..report(b"default") }.line();
    assert_eq!(line(State::Open), Done::Disabled.line());
    assert_eq!(line(State::Paused), Done::Enabled.line());
    assert_eq!(line(State::Releasing), "Pause disabled, releasing.");
    assert_eq!(line(State::Maintenance), Done::Maintenance.line());
}

#[test]
fn a_name_cannot_make_a_line_of_its_own() {
    let lines = report(b"default").text().lines().count();
    for name in ["a\nstate: open", "a\r\nb", "a\u{85}b", "\0", "\u{1b}[2J"] {
        let text = report(name.as_bytes()).text();
        assert_eq!(text.lines().count(), lines, "{name:?}");
        assert!(!text.contains(['\r', '\0', '\u{1b}', '\u{85}']), "{name:?}");
    }
    assert!(report(b"\xff\xfe").text().starts_with("app: \u{fffd}"));
}

#[test]
fn what_is_shown_is_short_and_plain() {
    assert_eq!(shown(b"plain"), "plain");
    assert_eq!(shown(b"a\"b\nc\x7f"), "a?b?c?");
    assert_eq!(shown(&[b'x'; 100]), "x".repeat(100));
    assert_eq!(shown(&[b'x'; 101]), format!("{}…", "x".repeat(100)));
    assert!(shown("é".repeat(60).as_bytes()).starts_with('é'));
    assert!(shown(&[0xff; 1000]).chars().count() <= 101);
}

/// A small reader of JSON strings, to see that what is quoted can be read again.
fn unquoted(json: &str) -> Option<String> {
    let mut chars = json.strip_prefix('"')?.strip_suffix('"')?.chars();
    let mut text = String::new();
    while let Some(c) = chars.next() {
        text.push(match c {
            '\\' => match chars.next()? {
                'n' => '\n',
                'u' => {
                    let hex: String = chars.by_ref().take(4).collect();
                    char::from_u32(u32::from_str_radix(&hex, 16).ok()?)?
                }
                escaped => escaped,
            },
            c if c.is_control() || c == '"' => return None,
            c => c,
        });
    }
    Some(text)
}

/// Something like a query, more often than chance would make one.
fn any_query() -> impl Strategy<Value = Vec<u8>> {
    let word = "(app|for|drain|keep|rate|burst|concurrency|canary|retry_after|format|[a-z%+]{0,4})";
    let value = "([0-9]{0,20}(ms|s|m|h|d|w|M|y|r/s|%|%2|%20|\\+| )?){0,3}";
    let query = format!("({word}(=({value}))?&?){{0,6}}");
    prop_oneof![
        proptest::string::string_regex(&query).expect("a pattern").prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..200),
    ]
}

proptest! {
    #[test]
    fn no_query_is_too_strange(query in any_query()) {
        for (call, _) in CALLS_KNOWN {
            let Ok(args) = Args::parse(call, &query) else { continue };
            let _ = Enable::parse(&args);
            let _ = retry_after(&args);
            if let Ok(disable) = Disable::parse(&args, Policy::default()) {
                prop_assert!(disable.policy.rate <= MAX_RATE && disable.canary <= MAX_COUNT);
                prop_assert!(values::check_burst(&disable.policy).is_ok());
            }
        }
    }

    #[test]
    fn what_was_escaped_comes_back(value in proptest::collection::vec(any::<u8>(), 0..100)) {
        let escaped: String = value.iter().map(|byte| format!("%{byte:02x}")).collect();
        let query = format!("app={escaped}");
        let args = parse(Call::Status, &query).expect("it is good");
        prop_assert_eq!(args.get("app"), Some(&value[..]));
    }

    #[test]
    fn no_time_is_too_strange(text in "([0-9]{0,21}(ms|[yMwdhms ]|[a-z])?){0,5}") {
        if let Some(time) = values::time(text.as_bytes()) {
            prop_assert!(time <= values::MAX_TIME);
        }
        if let Some(rate) = values::rate(text.as_bytes()) {
            prop_assert!((1..=MAX_RATE).contains(&rate));
        }
    }

    #[test]
    fn a_time_is_the_sum_of_its_parts(h in 0u64..100, m in 0u64..100, s in 0u64..100, ms in 0u64..5000) {
        let text = format!("{h}h {m}m{s}s {ms}ms");
        let sum = ((h * 60 + m) * 60 + s) * 1000 + ms;
        prop_assert_eq!(values::time(text.as_bytes()), Some(Duration::from_millis(sum)));
    }

    #[test]
    fn no_bytes_are_no_time(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = (values::time(&bytes), values::number(&bytes), values::rate(&bytes));
        let _ = (Call::of_path(&bytes), accepts_json(&bytes));
        let _ = is_cross_site(Some(&bytes), Some(&bytes), &bytes);
    }

    #[test]
    fn every_name_can_be_shown(name in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(!shown(&name).contains(['\n', '\r', '"', '\0']));
        prop_assert_eq!(report(&name).text().lines().count(), report(b"x").text().lines().count());
        let json = quoted(&String::from_utf8_lossy(&name));
        prop_assert!(!json.contains(['<', '>', '&', '\n']));
        prop_assert_eq!(unquoted(&json), Some(String::from_utf8_lossy(&name).into_owned()));
    }
}
