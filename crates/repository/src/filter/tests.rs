//! The language as restic documents it, case by case, and against a matcher that is too simple to be wrong.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::list::Matched;
use super::*;

/// pattern, path, whether it matches.
const MATCHES: &[(&str, &str, bool)] = &[
    // A pattern without `/` matches any component.
    ("*.go", "/foo/bar/test.go", true),
    ("*.c", "/foo/bar/test.go", false),
    ("*", "/foo/bar/test.go", true),
    ("foo*", "/foo/bar/test.go", true),
    ("bar*", "/foo/bar/test.go", true),
    ("test.*", "/foo/bar/test.go", true),
    ("tesT.*", "/foo/bar/test.go", false),
    ("bar", "/foo/bar", true),
    // A match of a folder is a match of what is in it.
    ("bar", "/foo/bar/baz", true),
    ("bar/*", "/foo/bar/deep/er", true),
    ("/foo", "/foo/baz", true),
    ("/foo/", "/foo/baz", true),
    ("foo", "/food/x", false),
    // Several components follow each other somewhere in the path.
    ("bar/*", "/foo/bar/test.go", true),
    ("baz/*", "/foo/bar/test.go", false),
    ("bar/test.go", "/foo/bar/test.go", true),
    ("ba*/*.go", "/foo/bar/test.go", true),
    ("bb*/*.go", "/foo/bar/test.go", false),
    ("baz/test.*", "bar/baz/test.go", true),
    ("sdk/*/cpp/*/*vars*.html", "/usr/sdk/docs/cpp/ref/a00517.html", false),
    ("sdk/*/cpp/*/*vars*.html", "/usr/sdk/docs/cpp/ref/1vars2.html", true),
    // A leading `/` anchors.
    ("/bar*", "/foo/bar/test.go", false),
    ("/foo/bar", "/foo/bar", true),
    ("/foo/bar/", "/foo/bar", true),
    ("/foo/bar", "/foo/baz", false),
    ("/foo/bar", "/foo/baz/", false),
    ("/foo/*", "/foo", false),
    ("/foo/*", "/foo/baz", true),
    ("/foo/*test.*", "/foo/bar/test.go", false),
    ("/foo/*/test.*", "/foo/bar/test.go", true),
    ("/foo/*/bar/test.*", "/foo/bar/test.go", false),
    ("/*/*/baz/test.*", "/foo/bar/baz/test.go", true),
    ("/*/foo/bar/test.*", "/foo/bar/baz/test.go", false),
    ("/foo/bar/test.*", "foo/bar/test.go", false),
    ("/", "/foo", true),
    // Patterns are tidied first.
    ("/foo///bar", "/foo/bar", true),
    ("/foo/./bar", "/foo/bar", true),
    ("/foo/../bar", "/foo/bar", false),
    ("/foo/../bar", "/bar", true),
    ("/../bar", "/bar", true),
    ("./bar", "/foo/bar", true),
    // `**` is any number of folders.
    ("**", "/foo/bar/test.go", true),
    ("foo/**/bar/*.go", "/home/user/foo/work/special/project/bar/test.go", true),
    ("foo/**/bar/*.go", "/home/user/foo/bar/test.go", true),
    ("foo/**/bar/*.go", "foo/bar/test.go", true),
    ("foo/**/bar/*.go", "foo/bar/baz/bar/test.go", true),
    ("foo/**/bar/*.go", "/home/user/foo/test.c", false),
    ("foo/**/bar/*.go", "bar/foo/main.go", false),
    ("foo/**/bar/*.go", "bar/main.go", false),
    ("foo/**/bar", "/home/user/foo/x/y/bar/main.go", true),
    ("foo/**/bar/**/x", "/home/user/foo/bar/x", true),
    ("foo/**/bar/**/x", "/home/user/foo/blaaa/blaz/bar/shared/work/x", true),
    ("user/**/important*", "/home/user/work/x/y/hidden/x", false),
    ("user/**/hidden*/**/c", "/home/user/work/x/y/hidden/z/a/b/c", true),
    ("/foo/**", "/foo", true),
    ("/foo/**", "/foo/a/b", true),
    ("/foo/**", "/bar/a/b", false),
    ("/**/x", "/x", true),
    // Here restic 0.19 says no, against its own manual.
    ("/a/**/b/**/c", "/a/b/c", true),
    // Sets, escapes, characters that are several bytes.
    ("/home/[uU]ser/?.go", "/home/user/F.go", true),
    ("[^a]x", "/bx", true),
    ("[^a]x", "/ax", false),
    ("[!a]", "/b", false),
    ("[!a]", "/!", true),
    ("[a\\-c]", "/-", true),
    ("[a\\]]", "/]", true),
    ("a]", "/a]", true),
    ("\\*", "/*", true),
    ("\\*", "/x", false),
    ("?", "/ä", true),
    ("??", "/ä", false),
    ("[ä-ü]", "/ö", true),
    ("a*b*c", "/aXXbYYbZc", true),
    ("a*b*c", "/aXXbYYbZ", false),
    ("a**c", "/abbc", true),
    ("*?", "/ä", true),
    ("c:/foo", "c:/foo/bar", true),
];

#[test]
fn every_documented_case() {
    for &(pattern, path, expected) in MATCHES {
        let list = PatternList::new([pattern]).unwrap();
        assert_eq!(list.matches(path.as_bytes()), expected, "`{pattern}` and `{path}`");
    }
}

/// pattern, path, whether something below the path may match.
const BELOW: &[(&str, &str, bool)] = &[
    ("foo/bar", "/foo", true),
    ("baz/bar", "/foo", true),
    ("*", "/foo/bar", true),
    ("/foo/bar", "/foo", true),
    ("/foo/bar/baz", "/foo/bar", true),
    ("/foo/bar/baz", "/foo/baz", false),
    ("/foo/**/baz", "/foo/bar/baz", true),
    ("/foo/**/qux", "/foo/bar/baz/boo", true),
    ("/foo/**/qux", "/bar", false),
    ("/foo/**", "/foo/bar", true),
    ("/foo/*/qux", "/foo/bar", true),
    ("/foo/*/qux", "/foo/bar/boo", false),
    ("/baz/bar", "/foo", false),
    ("/foo", "/foo/bar", true),
    ("/*", "/foo/bar", true),
    ("/**", "/foo", true),
    ("/*/bar", "/foo", true),
    ("/bar/*", "/foo", false),
    ("/foo/*/baz", "/foo/baz", true),
    ("/foo/*/baz", "/bar/baz", false),
    ("/**/bar", "/foo/bar", true),
    ("/foo/bar", "/", true),
];

#[test]
fn what_may_lie_below() {
    for &(pattern, path, expected) in BELOW {
        let list = PatternList::new([pattern]).unwrap();
        assert_eq!(list.judge(path.as_bytes()).below, expected, "`{pattern}` and `{path}`");
    }
}

/// patterns, path, whether it matches, whether something below may.
const LISTS: &[(&[&str], &str, bool, bool)] = &[
    (&[], "/foo/bar/test.go", false, false),
    (&["*.go"], "/foo/bar", false, true),
    (&["*.go", "*.c"], "/foo/bar/test.go", true, true),
    (&["?", "x"], "/foo/bar/x", true, true),
    (&["/*/*/bar/test.*"], "/foo/bar/test.go", false, false),
    (&["/*/*/bar/test.*"], "/foo/bar/bar", false, true),
    (&["/*/*/bar/test.*", "*.go"], "/foo/bar/test.go", true, true),
    (&["", "*.c"], "/foo/bar/test.go", false, true),
    // `!` takes back what came before it, and only that.
    (&["!**", "*.go"], "/foo/bar/test.go", true, true),
    (&["!**", "*.c"], "/foo/bar/test.go", false, true),
    (&["/foo/*/test.*", "!*.c"], "/foo/bar/test.c", false, false),
    (&["/foo/*/test.*", "!*.c"], "/foo/bar/test.go", true, true),
    (&["/foo/*/*", "!test.*", "*.c"], "/foo/bar/test.go", false, true),
    (&["/foo/*/*", "!test.*", "*.c"], "/foo/bar/test.c", true, true),
    (&["/foo/*/*", "!test.*", "*.c"], "/foo/bar/file.go", true, true),
    (&["/**/*", "!/foo", "/foo/*", "!/foo/bar"], "/foo/other/test.go", true, true),
    (&["/**/*", "!/foo", "/foo/*", "!/foo/bar"], "/foo/bar", false, false),
    (&["/**/*", "!/foo", "/foo/*", "!/foo/bar"], "/foo/bar/test.go/child", false, false),
    (&["/**/*", "!/foo", "/foo/*", "!/foo/bar", "/foo/bar/test*"], "/foo/bar/test.go/child", true, true),
    (&["/foo/bar/*", "!/foo/bar/[a-m]*"], "/foo", false, true),
    // As the manual has it: keep one file of an excluded folder's content.
    (&["/home/user/x/*", "!/home/user/x/keep"], "/home/user/x/keep", false, false),
    (&["/home/user/x/*", "!/home/user/x/keep"], "/home/user/x/other", true, true),
];

#[test]
fn lists_and_what_they_take_back() {
    for &(patterns, path, itself, below) in LISTS {
        let list = PatternList::new(patterns).unwrap();
        assert_eq!(list.judge(path.as_bytes()), Matched { itself, below }, "{patterns:?} and `{path}`");
    }
}

#[test]
fn malformed_patterns_are_refused_by_name() {
    for pattern in
        ["[", "test/[", "test/**/[", "[]", "[^]", "[]a]", "[a-]", "[-a]", "[a-c-]", "a\\", "[a\\", "[a", "a\0b"]
    {
        let error = PatternList::new([pattern]).expect_err(pattern);
        assert_eq!(error.pattern, pattern);
        assert!(error.to_string().starts_with(&format!("cannot use the pattern `{pattern}`: ")), "{error}");
    }
    assert!(PatternList::new([b"[\xff]".as_slice()]).is_err());
    assert_eq!(PatternList::default().add(b"X[", Case::Insensitive).unwrap_err().pattern, "X[");
}

#[test]
fn bytes_that_are_no_text_match_as_bytes() {
    let list = PatternList::new([b"caf\xe9*".as_slice()]).unwrap();
    assert!(list.matches(b"/caf\xe9.txt"));
    assert!(!list.matches("/café.txt".as_bytes()));
    assert!(PatternList::new(["a?b"]).unwrap().matches(b"/a\xffb"));
    assert!(!PatternList::new(["a?b"]).unwrap().matches(b"/a\xff\xfeb"));
}

#[test]
fn case_is_ignored_where_asked() {
    let mut list = PatternList::default();
    list.add("*.JPG".as_bytes(), Case::Insensitive).unwrap();
    list.add("ÄRGER".as_bytes(), Case::Insensitive).unwrap();
    list.add(b"Exact", Case::Sensitive).unwrap();
    for path in ["/a/x.jpg", "/a/X.JpG", "/ärger", "/Ärger/x", "/Exact"] {
        assert!(list.matches(path.as_bytes()), "{path}");
    }
    assert!(list.matches(b"/A\xff.jPg"));
    assert!(!list.matches(b"/exact"));
}

#[test]
fn each_case_has_its_own_list() {
    let mut list = PatternList::new(["*.tmp"]).unwrap();
    list.add(b"!keep.tmp", Case::Insensitive).unwrap();
    assert!(list.matches(b"/keep.tmp"), "a `!` of the one list took back a match of the other");
}

#[test]
fn a_selection_descends_only_where_something_may_be() {
    let include = Selection { include: PatternList::new(["/work/*/src"]).unwrap(), ..Selection::default() };
    let decision = |path: &str, is_dir| include.selects(path.as_bytes(), is_dir);
    assert_eq!(decision("/work", true), Decision { selected: false, descend: true });
    assert_eq!(decision("/home", true), Decision { selected: false, descend: false });
    assert_eq!(decision("/work/a/src/deep", true), Decision { selected: true, descend: true });
    assert_eq!(decision("/work/a/src/file", false), Decision { selected: true, descend: false });

    let both =
        Selection { include: PatternList::new(["*.rs"]).unwrap(), exclude: PatternList::new(["target"]).unwrap() };
    assert_eq!(both.selects(b"/a/target", true), Decision { selected: false, descend: false });
    assert_eq!(both.selects(b"/a/target/x.rs", false), Decision { selected: false, descend: false });
    assert_eq!(both.selects(b"/a/x.rs", false), Decision { selected: true, descend: false });
    assert_eq!(Selection::default().selects(b"/a", true), Decision { selected: true, descend: true });
}

#[test]
fn pattern_files() {
    let variable = |name: &str| (name == "HOME").then(|| "/home/me".to_owned());
    let parse = |bytes: &[u8]| {
        let patterns = parse_pattern_file(bytes, variable).unwrap();
        patterns.into_iter().map(|pattern| String::from_utf8(pattern).unwrap()).collect::<Vec<_>>()
    };
    let text = b"# comment\n\n  *.o \r\n$HOME/cache\n${HOME}x\n$$five\n5$\na$UNSET/b\n${}c\n!keep";
    assert_eq!(parse(text), ["*.o", "/home/me/cache", "/home/mex", "$five", "5$", "a/b", "c", "!keep"]);
    assert_eq!(parse(b"\xef\xbb\xbfa\nb"), ["a", "b"]);
    assert_eq!(parse(b"\xff\xfea\0\n\0b\0"), ["a", "b"]);
    assert_eq!(parse(b"\xfe\xff\0a\0\n\0b"), ["a", "b"]);
    assert!(parse_pattern_file(b"\xff\xfea", variable).is_err());
    assert!(parse_pattern_file(b"\xff\xfe\x00\xd8", variable).is_err());

    let missing = read_pattern_file(std::path::Path::new("/nonexistent/patterns"), variable).unwrap_err();
    assert!(missing.to_string().starts_with("cannot read patterns from `/nonexistent/patterns`: "), "{missing}");
}

#[test]
fn tag_files() {
    let folder = tempfile::tempdir().unwrap();
    let open = || std::fs::File::open(folder.path()).unwrap();
    let excludes =
        Excludes { caches: true, if_present: vec![TagFile::parse(b".nobackup").unwrap()], ..Excludes::default() };
    assert!(excludes.has_tags());
    assert!(!excludes.tags_in(open()).excludes(b"data"));

    std::fs::write(folder.path().join("CACHEDIR.TAG"), "Signature: wrong").unwrap();
    let tags = excludes.tags_in(open());
    assert!(!tags.excludes(b"data"));
    assert_eq!(tags.troubles.len(), 1, "{:?}", tags.troubles);

    let right = "Signature: 8a477f597d28d172789f06886806bc55\n# and more\n";
    std::fs::write(folder.path().join("CACHEDIR.TAG"), right).unwrap();
    let tags = excludes.tags_in(open());
    assert!(tags.excludes(b"data") && !tags.excludes(b"CACHEDIR.TAG"));

    std::fs::remove_file(folder.path().join("CACHEDIR.TAG")).unwrap();
    std::fs::write(folder.path().join(".nobackup"), "").unwrap();
    let tags = excludes.tags_in(open());
    assert!(tags.excludes(b"data") && !tags.excludes(b".nobackup"));

    for wrong in ["", ":header", "a/b", "..", "."] {
        assert!(TagFile::parse(wrong.as_bytes()).is_err(), "{wrong}");
    }
    let with_header = TagFile::parse(b"name:head:er").unwrap();
    assert_eq!(
        (with_header.name.as_slice(), with_header.header.as_slice()),
        (b"name".as_slice(), b"head:er".as_slice())
    );
}

#[test]
fn a_pipe_named_like_a_tag_does_not_stop_the_walk() {
    let folder = tempfile::tempdir().unwrap();
    let directory = std::fs::File::open(folder.path()).unwrap();
    rustix::fs::mkfifoat(&directory, "CACHEDIR.TAG", rustix::fs::Mode::RWXU).unwrap();
    let tags = Excludes { caches: true, ..Excludes::default() }.tags_in(&directory);
    assert!(!tags.excludes(b"data"));
    assert_eq!(tags.troubles.len(), 1);
}

#[test]
fn sizes() {
    for (text, bytes) in
        [("0", 0), ("12", 12), ("1k", 1024), ("2M", 2 << 20), ("3g", 3 << 30), ("1T", 1 << 40), ("7b", 7)]
    {
        assert_eq!(parse_size(text).unwrap(), bytes, "{text}");
    }
    for wrong in ["", "k", "-1", "1.5g", "1kk", " 1", "99999999999999999999", "99999999999t", "1ä"] {
        assert!(parse_size(wrong).is_err(), "{wrong}");
    }
    let excludes = Excludes { larger_than: Some(10), ..Excludes::default() };
    assert!(excludes.excludes_size(11) && !excludes.excludes_size(10));
}

/// One component, by plain recursion over the pattern's text.
fn simple_component(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|skip| simple_component(rest, &name[skip..])),
        Some((b'?', rest)) => !name.is_empty() && simple_component(rest, &name[1..]),
        Some((b'[', rest)) => {
            let end = rest.iter().position(|&byte| byte == b']').unwrap();
            let (negated, set) = match rest[..end].split_first().unwrap() {
                (b'^', set) => (true, set),
                _ => (false, &rest[..end]),
            };
            !name.is_empty() && set.contains(&name[0]) != negated && simple_component(&rest[end + 1..], &name[1..])
        }
        Some((byte, rest)) => name.first() == Some(byte) && simple_component(rest, &name[1..]),
    }
}

/// A path, by trying every number of folders for every `**`.
fn simple_path(pattern: &[&str], path: &[&str]) -> bool {
    match pattern.split_first() {
        None => true,
        Some((&"**", rest)) => (0..=path.len()).any(|skip| simple_path(rest, &path[skip..])),
        Some((first, rest)) => path.split_first().is_some_and(|(name, below)| {
            simple_component(first.as_bytes(), name.as_bytes()) && simple_path(rest, below)
        }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn equal_to_the_simple_matcher(
        anchored: bool,
        pattern in prop::collection::vec("\\*\\*|[ab*?]{1,4}|[ab]?\\[\\^?[abc]{1,2}\\][b*]?", 1..5),
        path in prop::collection::vec("[abc]{1,4}", 1..7),
    ) {
        let pattern: Vec<&str> = pattern.iter().map(String::as_str).collect();
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let text = format!("{}{}", if anchored { "/" } else { "" }, pattern.join("/"));
        let full = format!("/{}", path.join("/"));
        let list = PatternList::new([&text]).unwrap();
        let starts = if anchored { 0..=0 } else { 0..=path.len() };
        let expected = starts.clone().any(|start| simple_path(&pattern, &path[start..]));
        prop_assert_eq!(list.matches(full.as_bytes()), expected, "`{}` and `{}`", text, full);

        // Whatever matches is reachable: every folder above it says that something below may match.
        if expected {
            for length in 1..path.len() {
                let above = format!("/{}", path[..length].join("/"));
                prop_assert!(list.judge(above.as_bytes()).below, "`{}` hides `{}` at `{}`", text, full, above);
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(pattern in prop::collection::vec(any::<u8>(), 0..24), path in prop::collection::vec(any::<u8>(), 0..40)) {
        let mut list = PatternList::default();
        for case in [Case::Sensitive, Case::Insensitive] {
            let _ = list.add(&pattern, case);
        }
        list.matches(&path);
        let _ = parse_pattern_file(&pattern, |_| None);
    }
}
