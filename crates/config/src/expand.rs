//! `~` and variables in paths: `~/wallet`, `$HOME/wallet`, `${DATA}/wallet`; `$$` is a `$`.

use std::path::PathBuf;

/// The path that a text means.
pub(crate) fn path(text: &str) -> Result<PathBuf, String> {
    with(text, |name| std::env::var(name).ok())
}

fn with(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<PathBuf, String> {
    let value = |name: &str| match variable(name).filter(|value| !value.is_empty()) {
        Some(value) => Ok(value),
        None => Err(format!("the variable `{name}` is not set")),
    };
    let mut path = String::new();
    let mut rest = match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            path.push_str(&value("HOME")?);
            rest
        }
        Some(_) => return Err("`~` with a user's name is not known".to_owned()),
        None => text,
    };
    while let Some((before, behind)) = rest.split_once('$') {
        path.push_str(before);
        if let Some(behind) = behind.strip_prefix('$') {
            path.push('$');
            rest = behind;
        } else if let Some(behind) = behind.strip_prefix('{') {
            let (name, behind) = behind.split_once('}').ok_or("a `}` is missing")?;
            path.push_str(&value(name)?);
            rest = behind;
        } else {
            let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
            let end = behind.find(|letter| !is_part(letter)).unwrap_or(behind.len());
            let (name, behind) = behind.split_at(end);
            path.push_str(&value(name)?);
            rest = behind;
        }
    }
    path.push_str(rest);
    Ok(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_and_variables() {
        let known = |name: &str| match name {
            "HOME" => Some("/home/alice".to_owned()),
            "DATA_2" => Some("/data".to_owned()),
            _ => None,
        };
        for (text, meant) in [
            ("/plain/~x", "/plain/~x"),
            ("~", "/home/alice"),
            ("~/a b", "/home/alice/a b"),
            ("$DATA_2/x", "/data/x"),
            ("${DATA_2}y$$z", "/datay$z"),
        ] {
            assert_eq!(with(text, known), Ok(PathBuf::from(meant)), "{text}");
        }
        for text in ["$NOWHERE/x", "~bob/x", "${DATA_2", "$", "a$"] {
            assert!(with(text, known).is_err(), "{text}");
        }
    }
}
