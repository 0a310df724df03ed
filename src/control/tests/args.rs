use std::time::Duration;

use proptest::prelude::*;

use super::super::args::{Args, BadArgument, Disable, Enable, retry_after};
use super::super::*;
use super::CALLS_KNOWN;
use crate::gate::policy::{MAX_COUNT, MAX_RATE, Policy};

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
}
