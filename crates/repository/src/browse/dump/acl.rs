//! Linux' binary POSIX ACLs as the text that tar archives carry.
//!
//! Source: acl(5), and `include/uapi/linux/posix_acl_xattr.h`: a version, then entries of tag, permissions and id, all
//! little-endian. Ids stay numbers: names of users belong to a machine, and the archive may be read on another.

const VERSION: u32 = 2;

/// The text of an ACL; none when it is not one that we know.
pub(super) fn text(binary: &[u8]) -> Option<String> {
    let (version, entries) = binary.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != VERSION {
        return None;
    }
    let (entries, rest) = entries.as_chunks::<8>();
    if !rest.is_empty() {
        return None;
    }
    let mut text = String::new();
    for [tag_low, tag_high, permissions, _, id @ ..] in entries {
        let (word, has_id) = match u16::from_le_bytes([*tag_low, *tag_high]) {
            0x01 => ("user", false),
            0x02 => ("user", true),
            0x04 => ("group", false),
            0x08 => ("group", true),
            0x10 => ("mask", false),
            0x20 => ("other", false),
            _ => return None,
        };
        let id = if has_id { u32::from_le_bytes(*id).to_string() } else { String::new() };
        let letter = |bit: u8, letter: char| if permissions & bit != 0 { letter } else { '-' };
        text.push_str(&format!("{word}:{id}:{}{}{}\n", letter(4, 'r'), letter(2, 'w'), letter(1, 'x')));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut binary = VERSION.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            binary.extend(tag.to_le_bytes());
            binary.extend(permissions.to_le_bytes());
            binary.extend(id.to_le_bytes());
        }
        binary
    }

    #[test]
    fn every_tag_has_its_word() {
        let binary = acl(&[(1, 7, u32::MAX), (2, 6, 1000), (4, 5, u32::MAX), (8, 1, 7), (16, 7, u32::MAX), (32, 0, 0)]);
        let expected = "user::rwx\nuser:1000:rw-\ngroup::r-x\ngroup:7:--x\nmask::rwx\nother::---\n";
        assert_eq!(text(&binary).as_deref(), Some(expected));
    }

    #[test]
    fn what_is_no_acl_is_refused() {
        for wrong in [&[][..], &[2, 0, 0], &[3, 0, 0, 0], &[2, 0, 0, 0, 1], &acl(&[(64, 7, 0)])] {
            assert_eq!(text(wrong), None);
        }
    }
}
