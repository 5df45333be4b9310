//! Which characters Go takes for printable: letters, marks, numbers, punctuation, symbols and the ASCII space.

/// True when Go's `strconv.Quote` leaves the character as it is.
pub(crate) fn is_printable(character: char) -> bool {
    // Behind another character the standard library escapes exactly what is not printable.
    let mut bytes = [b'a'; 5];
    let length = character.encode_utf8(&mut bytes[1..]).len();
    std::str::from_utf8(&bytes[..=length]).is_ok_and(|text| text.escape_debug().count() == 2)
}
