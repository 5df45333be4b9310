//! The `Authorization` header as words (RFC 7617, RFC 6750).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use model::Secret;

/// A user name, a password and their Base64 fit in this many times over.
const HEADER_BYTES_MAX: usize = 4096;

/// The text after a scheme's name, whose case does not count.
fn after<'a>(value: &'a HeaderValue, scheme: &str) -> Option<&'a str> {
    let text = value.to_str().ok().filter(|text| text.len() <= HEADER_BYTES_MAX)?;
    let (name, rest) = text.split_once(' ')?;
    name.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

/// User name and password.
pub(crate) fn basic(value: &HeaderValue) -> Option<(String, Secret)> {
    let text = String::from_utf8(STANDARD.decode(after(value, "basic")?).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), Secret::from(password)))
}

/// A bearer token.
pub(crate) fn bearer(value: &HeaderValue) -> Option<&str> {
    after(value, "bearer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ExposeSecret;

    fn basic_of(text: &str) -> Option<(String, String)> {
        let (user, password) = basic(&HeaderValue::from_str(text).unwrap())?;
        Some((user, password.expose_secret().to_owned()))
    }

    #[test]
    fn a_password_may_have_colons() {
        let expected = Some(("alice".to_owned(), "a:b ü".to_owned()));
        let header = format!("Basic {}", STANDARD.encode("alice:a:b ü"));
        assert_eq!(basic_of(&header), expected);
        assert_eq!(basic_of(&header.replace("Basic", "bAsIc")), expected);
    }

    #[test]
    fn what_is_no_login() {
        let long = format!("Basic {}", STANDARD.encode(format!("alice:{}", "x".repeat(HEADER_BYTES_MAX))));
        for text in ["", "Basic", "Basic ", "Basic ???", "Basic YWxpY2U=", "Basic /w==", "Bearer YTpi", &long] {
            assert_eq!(basic_of(text), None, "{text}");
        }
        assert_eq!(bearer(&HeaderValue::from_static("bearer abc")), Some("abc"));
        assert_eq!(bearer(&HeaderValue::from_static("Basic abc")), None);
    }
}
