//! The password of a server, from `~/.netrc`, as curl takes it from there.

use std::env;
use std::fs;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ureq::http::Uri;

/// What goes into the header `Authorization`, if there is a password for this host.
pub fn authorization(address: &str) -> Option<String> {
    let (login, password) = login_at(address)?;
    Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{login}:{password}"))))
}

/// Who this is at that host, and the password.
pub fn login_at(address: &str) -> Option<(String, String)> {
    let file = env::var_os("NETRC")
        .map(Into::into)
        .or_else(|| env::var_os("HOME").map(|home| std::path::Path::new(&home).join(".netrc")))?;
    let text = fs::read_to_string(file).ok()?;
    let uri: Uri = address.parse().ok()?;
    login(&text, uri.host()?.trim_matches(['[', ']']))
}

/// Login and password of the first entry for this host, or of the default.
fn login(text: &str, host: &str) -> Option<(String, String)> {
    let mut words = words(text).into_iter();
    let (mut is_meant, mut login, mut password) = (false, None, None);
    while let Some(word) = words.next() {
        match word.as_str() {
            "machine" | "default" if login.is_some() || password.is_some() => break,
            "machine" => is_meant = words.next()?.eq_ignore_ascii_case(host),
            "default" => is_meant = true,
            "login" if is_meant => login = words.next(),
            "password" if is_meant => password = words.next(),
            "login" | "password" | "account" => drop(words.next()),
            _ => {}
        }
    }
    (login.is_some() || password.is_some())
        .then(|| (login.unwrap_or_default(), password.unwrap_or_default()))
}

/// Words may be in quotes. Comments, and macros, which end at an empty line, are none.
fn words(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_in_macro = false;
    for line in text.lines() {
        is_in_macro &= !line.trim().is_empty();
        if is_in_macro || line.trim_start().starts_with('#') {
            continue;
        }
        let of_line = words_of_line(line);
        let own = of_line.iter().position(|word| word == "macdef");
        is_in_macro = own.is_some();
        found.extend(of_line.into_iter().take(own.unwrap_or(usize::MAX)));
    }
    found
}

fn words_of_line(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, behind) = match rest.strip_prefix('"') {
            Some(quoted) => until_quote(quoted),
            None => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        found.push(word);
        rest = behind.trim_start();
    }
    found
}

fn until_quote(text: &str) -> (String, &str) {
    let mut word = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (word, &text[at + 1..]),
            '\\' => match characters.next() {
                Some((_, 'n')) => word.push('\n'),
                Some((_, 'r')) => word.push('\r'),
                Some((_, 't')) => word.push('\t'),
                Some((_, other)) => word.push(other),
                None => {}
            },
            other => word.push(other),
        }
    }
    (word, "")
}

#[cfg(test)]
mod tests {
    use super::login;

    const FILE: &str = r#"
# machine web1 login commented password out
machine web0 login zero password 0
machine web1
    login me password "a \"b\" # c"
macdef init
machine web2 login macro password macro

machine web2 password only
default login anybody password any
"#;

    fn found(host: &str) -> Option<(String, String)> {
        login(FILE, host)
    }

    #[test]
    fn the_password_is_that_of_the_host() {
        let pair = |login: &str, password: &str| Some((login.to_owned(), password.to_owned()));
        assert_eq!(found("web0"), pair("zero", "0"));
        assert_eq!(found("WEB1"), pair("me", r#"a "b" # c"#));
        assert_eq!(found("web2"), pair("", "only"));
        assert_eq!(found("elsewhere"), pair("anybody", "any"));
        assert_eq!(login("machine web1 login me", "web2"), None);
        assert_eq!(login("machine", "web2"), None);
        assert_eq!(login("", "web2"), None);
    }
}
