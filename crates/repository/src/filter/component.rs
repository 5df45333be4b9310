//! One component of a pattern against one component of a path: the language of Go's `filepath.Match`.
//!
//! `*` is any run of bytes, `?` one character, `[a-z]` and `[^a-z]` one character of a set, `\x` the character `x`.
//! A byte that is no UTF-8 counts as one character, U+FFFD, as it does in Go. The whole component is parsed when the
//! pattern is compiled, so that a malformed pattern is refused before the first path is seen.

/// What one component has to look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Component {
    /// `**`: any number of components, also none.
    Any,
    /// No wildcard in it: compared byte by byte.
    Literal(Box<[u8]>),
    /// At least one wildcard or escape.
    Glob(Box<[Token]>),
}

/// A part of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Star,
    One,
    Bytes(Box<[u8]>),
    Set { negated: bool, ranges: Box<[(char, char)]> },
}

impl Component {
    /// Compiles one component, which holds no `/`.
    pub(super) fn parse(text: &[u8]) -> Result<Self, &'static str> {
        if text == b"**" {
            return Ok(Component::Any);
        }
        if !text.iter().any(|byte| b"\\[]*?".contains(byte)) {
            return Ok(Component::Literal(text.into()));
        }
        parse_tokens(text).map(|tokens| Component::Glob(tokens.into()))
    }

    /// Whether one component of a path matches. `**` matches any single one; that it matches more and fewer is the
    /// pattern's business.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        match self {
            Component::Any => true,
            Component::Literal(text) => **text == *name,
            Component::Glob(tokens) => tokens_match(tokens, name),
        }
    }
}

fn parse_tokens(text: &[u8]) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut literal = Vec::new();
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let token = match first {
            b'*' => {
                rest = tail;
                Token::Star
            }
            b'?' => {
                rest = tail;
                Token::One
            }
            b'[' => {
                let (set, after) = parse_set(tail)?;
                rest = after;
                set
            }
            b'\\' => {
                let (&escaped, after) = tail.split_first().ok_or("it ends in a `\\`, which escapes nothing")?;
                literal.push(escaped);
                rest = after;
                continue;
            }
            byte => {
                literal.push(byte);
                rest = tail;
                continue;
            }
        };
        if !literal.is_empty() {
            tokens.push(Token::Bytes(std::mem::take(&mut literal).into()));
        }
        // `a**b` inside a component is `a*b`: one star is enough, and keeps backtracking short.
        if token != Token::Star || tokens.last() != Some(&Token::Star) {
            tokens.push(token);
        }
    }
    if !literal.is_empty() {
        tokens.push(Token::Bytes(literal.into()));
    }
    Ok(tokens)
}

/// Parses what follows a `[`; gives the set and what follows its `]`.
fn parse_set(text: &[u8]) -> Result<(Token, &[u8]), &'static str> {
    let (negated, mut rest) = match text.split_first() {
        Some((b'^', tail)) => (true, tail),
        _ => (false, text),
    };
    let mut ranges = Vec::new();
    loop {
        if let Some((b']', tail)) = rest.split_first()
            && !ranges.is_empty()
        {
            return Ok((Token::Set { negated, ranges: ranges.into() }, tail));
        }
        let (low, after) = parse_set_character(rest)?;
        rest = after;
        let mut high = low;
        if let Some((b'-', tail)) = rest.split_first() {
            (high, rest) = parse_set_character(tail)?;
        }
        ranges.push((low, high));
    }
}

fn parse_set_character(text: &[u8]) -> Result<(char, &[u8]), &'static str> {
    let text = match text.split_first() {
        None => return Err("a `[` has no `]`"),
        Some((b'-' | b']', _)) => return Err("a set `[...]` is empty or has a range without an end"),
        Some((b'\\', tail)) => tail,
        Some(_) => text,
    };
    let (character, length) = first_character(text).ok_or("a `[` has no `]`")?;
    if character == char::REPLACEMENT_CHARACTER && length == 1 {
        return Err("a set `[...]` holds bytes that are not UTF-8");
    }
    text.get(length..).filter(|rest| !rest.is_empty()).map(|rest| (character, rest)).ok_or("a `[` has no `]`")
}

/// The first character and its length in bytes; a byte that starts no character is U+FFFD of length 1.
fn first_character(bytes: &[u8]) -> Option<(char, usize)> {
    let first = *bytes.first()?;
    if first.is_ascii() {
        return Some((char::from(first), 1));
    }
    let longest = bytes.get(..4).unwrap_or(bytes);
    let valid = match std::str::from_utf8(longest) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(longest.get(..error.valid_up_to())?).unwrap_or_default(),
    };
    Some(valid.chars().next().map_or((char::REPLACEMENT_CHARACTER, 1), |c| (c, c.len_utf8())))
}

/// How many bytes of `name` the token takes from its start; `None` when it does not match there.
fn taken(token: &Token, name: &[u8]) -> Option<usize> {
    match token {
        Token::Star => Some(0),
        Token::Bytes(text) => name.starts_with(text).then_some(text.len()),
        Token::One => first_character(name).map(|(_, length)| length),
        Token::Set { negated, ranges } => {
            let (character, length) = first_character(name)?;
            let inside = ranges.iter().any(|&(low, high)| low <= character && character <= high);
            (inside != *negated).then_some(length)
        }
    }
}

/// Goes back to the last star only: what an earlier star could give, the last one can take as well.
fn tokens_match(tokens: &[Token], name: &[u8]) -> bool {
    let (mut token, mut at) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        let rest = name.get(at..).unwrap_or_default();
        match tokens.get(token) {
            None if rest.is_empty() => return true,
            Some(Token::Star) => {
                star = Some((token + 1, at));
                token += 1;
                continue;
            }
            Some(other) => {
                if let Some(length) = taken(other, rest) {
                    token += 1;
                    at += length;
                    continue;
                }
            }
            None => {}
        }
        match star {
            Some((after, from)) if from < name.len() => {
                star = Some((after, from + 1));
                (token, at) = (after, from + 1);
            }
            _ => return false,
        }
    }
}
