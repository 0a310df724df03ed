//! What is escaped as in addresses (`%20`).

use percent_encoding::percent_decode;

/// The bytes that are meant. `None` if an escape is broken: the library would leave it as it stands.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut behind_escapes = text.split(|byte| *byte == b'%').skip(1);
    let is_whole =
        |rest: &[u8]| rest.get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    behind_escapes.all(is_whole).then(|| percent_decode(text).collect())
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn escapes_are_whole_or_nothing() {
        assert_eq!(decode(b"a%20b%C3%a4%25"), Some("a b\u{e4}%".as_bytes().to_vec()));
        assert_eq!(decode(b""), Some(Vec::new()));
        for broken in ["%", "a%4", "%4g", "%g4", "%%41", "%25%", "%\u{e9}"] {
            assert_eq!(decode(broken.as_bytes()), None, "{broken}");
        }
    }
}
