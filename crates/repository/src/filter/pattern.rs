//! One pattern: components, where it is anchored, and whether it takes back what earlier ones said.

use super::component::Component;

/// A pattern that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use the pattern `{pattern}`: {why}")]
pub struct PatternError {
    /// The pattern as it was given.
    pub pattern: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    /// As it was given.
    pub(super) text: Box<[u8]>,
    /// Started with `!`: takes back earlier matches.
    pub(super) negated: bool,
    /// Started with `/`: counts from the root; otherwise it may start at any component.
    anchored: bool,
    components: Box<[Component]>,
}

/// A path cut into components once, to be held against many patterns.
pub(super) struct SplitPath<'a> {
    rooted: bool,
    components: Vec<&'a [u8]>,
}

impl<'a> SplitPath<'a> {
    pub(super) fn new(path: &'a [u8]) -> Self {
        let components = path.split(|&byte| byte == b'/').filter(|part| !part.is_empty()).collect();
        Self { rooted: path.first() == Some(&b'/'), components }
    }
}

impl Pattern {
    /// Compiles `text`, which is not empty.
    pub(super) fn parse(text: &[u8]) -> Result<Self, PatternError> {
        let (negated, body) = match text.split_first() {
            Some((b'!', tail)) => (true, tail),
            _ => (false, text),
        };
        let refused = |why| PatternError { pattern: String::from_utf8_lossy(text).into_owned(), why };
        if body.contains(&0) {
            return Err(refused("it holds a zero byte, which no path does"));
        }
        let (anchored, parts) = clean(body);
        let mut components = Vec::with_capacity(parts.len().max(1));
        for part in parts {
            let component = Component::parse(part).map_err(refused)?;
            // `**/**` is `**`: any number of any number.
            if component != Component::Any || components.last() != Some(&Component::Any) {
                components.push(component);
            }
        }
        if components.is_empty() {
            // `/` alone means everything below the root; nothing at all is the folder itself, which has no name.
            components.push(if anchored { Component::Any } else { Component::Literal(b".".as_slice().into()) });
        }
        Ok(Self { text: text.into(), negated, anchored, components: components.into() })
    }

    /// Whether the path, or a folder that it lies in, matches.
    ///
    /// A pattern need not reach the path's end, which is what makes a match of a folder a match of all that is in it.
    /// Unlike restic's, two `**` in one pattern may both stand for nothing: `/a/**/b/**/c` matches `/a/b/c`.
    pub(super) fn matches(&self, path: &SplitPath<'_>) -> bool {
        if self.anchored && !path.rooted {
            return false;
        }
        let (mut part, mut at) = (0, 0);
        let mut star: Option<(usize, usize)> = (!self.anchored).then_some((0, 0));
        while let Some(component) = self.components.get(part) {
            if *component == Component::Any {
                part += 1;
                star = Some((part, at));
                continue;
            }
            if path.components.get(at).is_some_and(|name| component.matches(name)) {
                part += 1;
                at += 1;
                continue;
            }
            match star {
                Some((after, from)) if from < path.components.len() => {
                    star = Some((after, from + 1));
                    (part, at) = (after, from + 1);
                }
                _ => return false,
            }
        }
        true
    }

    /// Whether something below this path could match.
    pub(super) fn may_match_below(&self, path: &SplitPath<'_>) -> bool {
        if !self.anchored {
            return true;
        }
        let until_any = self.components.iter().take_while(|component| **component != Component::Any);
        path.rooted && until_any.zip(&path.components).all(|(component, name)| component.matches(name))
    }
}

/// Tidies a pattern as Go's `filepath.Clean` does: no empty parts, no `.`, and `..` takes the part before it away.
fn clean(text: &[u8]) -> (bool, Vec<&[u8]>) {
    let anchored = text.first() == Some(&b'/');
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in text.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match parts.last() {
                Some(&last) if last != b".." => {
                    parts.pop();
                }
                _ if anchored => {}
                _ => parts.push(part),
            },
            _ => parts.push(part),
        }
    }
    (anchored, parts)
}
