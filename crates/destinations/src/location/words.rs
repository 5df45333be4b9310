//! What the addresses of several kinds have in common: URLs, escapes, and the one redaction.

use model::{ExposeSecret as _, Secret};
use url::Url;

/// What stands in place of a password.
const REDACTED: &str = "***";

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

/// A folder behind HTTP, and who asks for it.
pub(super) struct Login {
    /// Without user and password, with a slash at the end.
    pub(super) base: Url,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
}

/// `https://user:password@host:8000/path/`, with the user and the password taken out.
pub(super) fn http_login(text: &str) -> Result<Login, String> {
    let mut url = http_url(text)?;
    let username = percent_decoded(url.username());
    let password = url.password().map(percent_decoded);
    // A URL with a host always takes a user; ignoring the result cannot leave a password behind.
    if url.set_username("").is_err() || url.set_password(None).is_err() {
        return Err("user and password cannot be taken out of it".to_owned());
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    let username = (!username.is_empty()).then_some(username);
    Ok(Login { base: url, username, password: password.map(Secret::from) })
}

/// The same to be shown.
pub(super) fn shown_login(base: &Url, username: Option<&String>, password: Option<&Secret>) -> Url {
    let mut shown = base.clone();
    // Both setters fail only for URLs without a host, which were refused.
    if let Some(username) = username {
        let _ = shown.set_username(username);
    }
    if password.is_some_and(|password| !password.expose_secret().is_empty()) {
        let _ = shown.set_password(Some(REDACTED));
    }
    shown
}

/// `%41` as `A`. What is not UTF-8 after decoding keeps a replacement character and will be refused by the server.
pub(super) fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Hides everything that may be a user or password in an address, even in one that cannot be parsed.
pub(crate) fn redact(text: &str) -> String {
    // rclone takes settings, secrets among them, as `remote,key=value:path`.
    if let Some((remote, _)) = text.strip_prefix("rclone:").and_then(|remote| remote.split_once(',')) {
        return format!("rclone:{remote},{REDACTED}");
    }
    let Some((before_at, after_at)) = text.rsplit_once('@') else { return text.to_owned() };
    let start = match before_at.find("://") {
        Some(position) => position + 3,
        None => before_at.find(':').map_or(0, |position| position + 1),
    };
    format!("{}{REDACTED}@{after_at}", &before_at[..start])
}
