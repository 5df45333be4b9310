//! What the addresses of several kinds have in common: URLs, escapes, and the one redaction.

use url::Url;

/// What stands in place of a password.
pub(super) const REDACTED: &str = "***";

/// Why an address of one kind could not be understood.
pub(super) struct Misread {
    pub(super) why: String,
    /// What to write instead.
    pub(super) hint: &'static str,
}

/// An `http` or `https` URL with a host and nothing that we would silently drop.
pub(super) fn http_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("`http` or `https` is needed".to_owned());
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("the host is missing".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("`?` and `#` have no meaning here; write them as `%3F` and `%23`".to_owned());
    }
    Ok(url)
}

/// `%41` as `A`. What is not UTF-8 after decoding keeps a replacement character and will be refused by the server.
pub(super) fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Hides everything that may be a user or password in an address, even in one that cannot be parsed.
pub(crate) fn redact(text: &str) -> String {
    let Some((before_at, after_at)) = text.rsplit_once('@') else { return text.to_owned() };
    let start = match before_at.find("://") {
        Some(position) => position + 3,
        None => before_at.find(':').map_or(0, |position| position + 1),
    };
    format!("{}{REDACTED}@{after_at}", &before_at[..start])
}
