use proptest::prelude::*;

use super::super::args::shown;
use super::super::report::{Report, quoted};
use super::super::*;
use crate::gate::State;
use crate::gate::outage::Tally;
use crate::gate::totals::Totals;

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

proptest! {
    #[test]
    fn every_name_can_be_shown(name in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(!shown(&name).contains(['\n', '\r', '"', '\0']));
        prop_assert_eq!(report(&name).text().lines().count(), report(b"x").text().lines().count());
        let json = quoted(&String::from_utf8_lossy(&name));
        prop_assert!(!json.contains(['<', '>', '&', '\n']));
        prop_assert_eq!(unquoted(&json), Some(String::from_utf8_lossy(&name).into_owned()));
    }
}
