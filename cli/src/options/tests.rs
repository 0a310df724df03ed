use super::*;

fn read_words(words: &str) -> Result<Action, Wrong> {
    let words =
        ["intermission"].into_iter().chain(words.split(' ').filter(|word| !word.is_empty()));
    read(words.map(|word| if word == "''" { "" } else { word }.into()).collect(), "")
}

fn problem(words: &str) -> String {
    match read_words(words) {
        Err(Wrong::Options(problem)) => problem,
        other => panic!("{words}: {other:?}"),
    }
}

#[test]
fn the_definitions_are_sound() {
    definitions().debug_assert();
}

#[test]
fn what_is_wrong_is_said_in_words_of_our_own() {
    let cases = [
        ("", "there is nothing to do. See intermission --help."),
        ("status", "--url is missing. See intermission status --help."),
        ("status --url", "--url needs a value. See intermission status --help."),
        ("enable --url http://a --url http://a/", "--url http://a is given twice."),
        (
            "enable --url http://a --for 1x",
            "--for is 1x: expected a time above 0 and at most 1d, such as 30s.",
        ),
        ("enable --url http://a --for -1s", "--for is -1s: expected a time"),
        ("enable --url http://a --for ''", "--for is empty."),
        ("enable --url http://a --settle 1s", "--settle goes with --drain."),
        ("enable --url http://a --keep", "--keep goes with --drain."),
        ("status --url http://a --for=1s", "there is no option --for."),
        ("status --url http://a -x", "there is no option -x."),
        ("status --url http://a --json=1", "--json takes no value."),
        ("status --url http://a more", "there is something behind the options: more."),
        ("run --url http://a", "there is no command to run."),
        ("run --url http://a --json true", "there is no option --json."),
        ("run --url http://a --for 2s true", "--for is 2s: expected at least 3s,"),
        (
            "disable --url http://a --rate 5r/m",
            "--rate is 5r/m: expected a rate from 1r/s to 1000000r/s.",
        ),
        (
            "disable --url http://a --canary 01",
            "--canary is 01: expected a number from 1 to 1000000.",
        ),
        ("run --fleet x true", "--etcd is missing."),
        ("run --fleet * --etcd http://a true", "--fleet is *: expected one app."),
        ("run --fleet x --etcd unix:/a true", "--etcd is unix:/a: expected http://HOST:2379"),
        ("run --url http://a --on-loss stop true", "--on-loss goes with --fleet."),
        ("run --url http://a --etcd http://b true", "--etcd goes with --fleet."),
        ("agent --etcd http://a --url http://b", "--node <NAME> is missing."),
        ("fleet status --app '' --etcd http://a", "--app is empty."),
        ("fleet status --app x", "--etcd is missing."),
        ("help pause", "there is no help on pause. See intermission --help."),
        ("completion tcsh", "<SHELL> is tcsh: expected one of: bash, "),
    ];
    for (words, expected) in cases {
        assert!(problem(words).starts_with(expected), "{words}: {}", problem(words));
    }
}

#[test]
fn what_follows_the_command_is_left_to_it() {
    for (words, expected) in [
        ("run --url http://a printenv --json", vec!["printenv", "--json"]),
        ("run --url http://a -- printenv -- --help", vec!["printenv", "--", "--help"]),
        ("run --url=http://a --app --json printenv -h", vec!["printenv", "-h"]),
    ] {
        let Ok(Action::Run(run)) = read_words(words) else { panic!("{words}") };
        assert_eq!(run.command, expected, "{words}");
    }
}

#[test]
fn the_last_of_several_values_counts() {
    let Ok(Action::Enable(enable)) =
        read_words("enable --url http://a --for 1s --for 2s --keep --keep --drain 1s")
    else {
        panic!("it is refused");
    };
    assert_eq!(enable.lasts.map(|time| time.to_string()).as_deref(), Some("2s"));
}

#[test]
fn addresses_may_come_from_the_environment() {
    let words = || ["intermission", "status"].map(OsString::from).to_vec();
    let Ok(Action::Status(show)) = read(words(), " http://a  unix:/b\n") else {
        panic!("it is refused")
    };
    assert_eq!(show.place.urls.len(), 2);
    assert!(read(words(), "ftp://a").is_err());
    assert!(read(words(), " ").is_err());
}

#[test]
fn help_is_the_same_however_it_is_asked_for() {
    let help = |words| match read_words(words) {
        Err(Wrong::Help(help)) => help,
        other => panic!("{other:?}"),
    };
    assert_eq!(help("run --help"), help("run -h"));
    assert_eq!(help("run --help"), help("help run"));
    assert!(help("--help").contains("\n  run "), "{}", help("--help"));
}
