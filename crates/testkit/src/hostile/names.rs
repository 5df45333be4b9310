//! Names: every byte but `/` and NUL is allowed in one, and programs forget it.

use super::Maker;

/// The longest name that Linux file systems hold.
const NAME_LIMIT_BYTES: usize = 255;

pub(super) fn make(maker: &mut Maker) {
    let names: &[(&[u8], &str)] = &[
        (b" ", "a blank"),
        (b"  two leading blanks", "leading blanks"),
        (b"trailing blank ", "a trailing blank"),
        (b"trailing dot.", "a trailing dot"),
        (b"...", "three dots"),
        (b".hidden", "a leading dot"),
        (b"..double", "two leading dots"),
        (b"-rf", "a name like an option"),
        (b"--help", "a name like a long option"),
        (b"new\nline", "a newline"),
        (b"\n", "a newline and nothing else"),
        (b"carriage\rreturn", "a carriage return"),
        (b"tab\there", "a tab"),
        (b"bell\x07", "a bell"),
        (b"escape\x1b[31mred", "a terminal escape"),
        (b"\x01\x02\x03\x1f\x7f", "control characters"),
        (b"back\\slash", "a backslash"),
        (b"\\", "a backslash and nothing else"),
        (b"\\n\\x41\\u0041", "text that looks escaped"),
        (b"quote\"double", "a double quote"),
        (b"quote'single", "a single quote"),
        (b"`backticks`", "backticks"),
        (b"$HOME", "a variable"),
        (b"$(touch pwned)", "a command"),
        (b"; rm x", "a shell separator"),
        (b"pipe|amp&", "shell characters"),
        (b"<angle>&amp;", "characters that JSON writers escape"),
        (b"%2e%2e%2f", "percent encoding"),
        (b"100%", "a lone percent sign"),
        (b"%s%n%x", "a format string"),
        (b"~", "a tilde"),
        (b"#comment", "a comment sign"),
        (b"!negated", "a negation sign"),
        (b"*", "a pattern for everything"),
        (b"**", "a pattern for every depth"),
        (b"*.txt", "a pattern for an ending"),
        (b"?", "a pattern for one character"),
        (b"[a-z]", "a pattern for a class"),
        (b"[", "half a pattern"),
        (b"{a,b}", "alternatives"),
        (b"C:", "a drive letter"),
        (b"C:\\windows", "a Windows path"),
        (b"CON", "a device name of Windows"),
        (b"nul.txt", "a device name of Windows with an ending"),
        (b"a:b:c", "colons"),
        (b"latest", "restic's word for a snapshot"),
        (b"latest:sub", "restic's words for a part of a snapshot"),
        (b"config", "a file name of repositories"),
        (b"core", "a core dump"),
        (b".nomedia", "a mark of exclusion"),
        (b"utf8-\xc3\xa4\xc3\xb6\xc3\xbc-\xe2\x82\xac-\xf0\x9f\x92\xbe", "UTF-8 of two, three and four bytes"),
        (b"normalised-\xc3\xa9", "a composed letter"),
        (b"normalised-e\xcc\x81", "the same letter, decomposed"),
        (b"\xef\xac\x81ligature", "a ligature"),
        (b"\xe2\x80\xaegpj.exe", "a mark that turns the writing direction"),
        (b"zero\xe2\x80\x8bwidth", "a blank of no width"),
        (b"line\xe2\x80\xa8separator\xe2\x80\xa9", "separators that JSON writers escape"),
        (b"\xef\xbb\xbfmark", "a byte order mark"),
        (b"\xef\xbf\xbd", "the replacement character itself"),
        (b"latin1-\xe4\xf6\xfc", "Latin-1, not UTF-8"),
        (b"\xff", "a byte that is never UTF-8"),
        (b"\xfe", "another byte that is never UTF-8"),
        (b"\xff\xfe", "two of them"),
        (b"\xc3", "half a character"),
        (b"\xc3(", "half a character and a whole one"),
        (b"overlong-\xc0\xaf", "an overlong slash"),
        (b"surrogate-\xed\xa0\x80", "half a surrogate pair"),
        (b"beyond-\xf4\x90\x80\x80", "a code point that does not exist"),
        (b"mixed-\xc3\xa4-\xe4-\n-\"", "all of it together"),
        (b"Case", "a name in upper case"),
        (b"case", "the same name in lower case"),
        (b"\xc3\x84UML", "a letter in upper case beyond ASCII"),
        (b"\xc3\xa4uml", "the same letter in lower case"),
    ];
    for (index, (name, what)) in names.iter().enumerate() {
        let content = format!("name {index}: {what}\n");
        maker.file(&[b"names/", *name].concat(), what, content.as_bytes());
    }
    let long = |letter: &str| letter.repeat(NAME_LIMIT_BYTES / letter.len()).into_bytes();
    for (name, what) in [
        (long("n"), "a name of 255 bytes"),
        (long("\u{e4}"), "a name of 254 bytes in 127 letters"),
        (vec![0xfe; NAME_LIMIT_BYTES], "a name of 255 bytes that are not UTF-8"),
        (vec![b'\n'; NAME_LIMIT_BYTES], "a name of 255 newlines"),
        (vec![b'"'; NAME_LIMIT_BYTES], "a name of 255 quotes, each longer in JSON"),
    ] {
        maker.file(&[b"names/".as_slice(), &name].concat(), what, what.as_bytes());
    }
    for (folder, what) in [
        (b"folders/new\nline".as_slice(), "a folder with a newline"),
        (b"folders/\xff\xfe", "a folder that is not UTF-8"),
        (b"folders/*", "a folder like a pattern"),
        (b"folders/..data", "a folder with leading dots"),
        (b"folders/ ", "a folder of a blank"),
    ] {
        maker.file(&[folder, b"/inside"].concat(), what, b"inside\n");
    }
    maker.folder(b"folders/empty", "an empty folder");
    maker.folder(b"folders/nested/empty/in/empty", "empty folders in each other");
    maker.file(b"folders/same/same/same", "a name that repeats its folders'", b"same\n");
    maker.folder(b"order/a", "a folder that sorts before `a-b` by name and behind it by path");
    maker.file(b"order/a-b", "a file that sorts between a folder and what is in it", b"a-b\n");
    maker.file(b"order/a/b", "a file in that folder", b"b\n");
    maker.file(b"order/a.b", "another neighbour in sorting", b"a.b\n");
}
