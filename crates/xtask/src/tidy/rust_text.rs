//! Rust source without its comments and literals, so that a rule about code is not fooled by prose.
//!
//! This is no parser: it knows only where comments, strings and characters begin and end. Line breaks stay, so that
//! line numbers stay.

/// The lines of `text`, with comments and literals replaced by blanks.
pub(super) fn code_lines(text: &str) -> impl Iterator<Item = String> {
    let code = code_of(text);
    code.lines().map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// Whether `word` stands in `line` as a word of its own.
pub(super) fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !is_identifier(c)).any(|part| part == word)
}

fn is_identifier(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_or_comment_end(&chars, at);
        if end == at {
            code.push(chars[at]);
            at += 1;
        } else {
            code.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

/// Where the comment or literal that begins at `at` ends; `at` itself when none begins there.
fn literal_or_comment_end(chars: &[char], at: usize) -> usize {
    let next = chars.get(at + 1);
    match chars[at] {
        '/' if next == Some(&'/') => position_from(chars, at, |c| c == '\n'),
        '/' if next == Some(&'*') => block_comment_end(chars, at),
        '"' => string_end(chars, at),
        'r' if at == 0 || !is_identifier(chars[at - 1]) || matches!(chars[at - 1], 'b' | 'c') => {
            raw_string_end(chars, at).unwrap_or(at)
        }
        '\'' => character_end(chars, at),
        _ => at,
    }
}

fn position_from(chars: &[char], from: usize, wanted: impl Fn(char) -> bool) -> usize {
    chars[from..].iter().position(|c| wanted(*c)).map_or(chars.len(), |offset| from + offset)
}

fn block_comment_end(chars: &[char], at: usize) -> usize {
    let (mut depth, mut i) = (0_usize, at);
    while i < chars.len() {
        match (chars[i], chars.get(i + 1)) {
            ('/', Some('*')) => (depth, i) = (depth + 1, i + 2),
            ('*', Some('/')) if depth == 1 => return i + 2,
            ('*', Some('/')) => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
    }
    chars.len()
}

fn string_end(chars: &[char], at: usize) -> usize {
    let mut i = at + 1;
    while i < chars.len() {
        match chars[i] {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    chars.len()
}

fn raw_string_end(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    let quote = at + 1 + hashes;
    if chars.get(quote) != Some(&'"') {
        return None;
    }
    let mut i = quote + 1;
    while i < chars.len() {
        let closing = chars[i] == '"' && chars[i + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
        if closing {
            return Some(i + 1 + hashes);
        }
        i += 1;
    }
    Some(chars.len())
}

/// `'x'` and `'\n'` are literals, `'static` is a lifetime.
fn character_end(chars: &[char], at: usize) -> usize {
    match chars.get(at + 1) {
        Some('\\') => position_from(chars, (at + 3).min(chars.len()), |c| c == '\'').saturating_add(1).min(chars.len()),
        Some(_) if chars.get(at + 2) == Some(&'\'') => at + 3,
        _ => at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let squeezed: String = code_of(text).split(' ').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed, expected, "{text}");
    }

    #[test]
    fn comments_and_literals_become_blanks() {
        check("a // b\nc", "a \nc");
        check("a /* b /* c */ d */ e", "a e");
        check(r#"a "b \" c" d"#, "a d");
        check(r##"a r#"b " c"# d"##, "a d");
        check(r#"a br"b" d"#, "a b d");
        check("a 'b' '\\'' '\\u{41}' c", "a c");
        check("fn a<'b>(c: &'b str)", "fn a<'b>(c: &'b str)");
        check("r#type var\"x\"", "r#type var");
    }

    #[test]
    fn lines_keep_their_numbers() {
        assert_eq!(code_lines("a\n/* b\nc */\n\"d\ne\"\nf").nth(5).as_deref(), Some("f"));
    }

    #[test]
    fn a_word_is_not_a_part_of_a_word() {
        assert!(has_word("a unsafe{", "unsafe"));
        assert!(!has_word("unsafe_code", "unsafe"));
    }
}
