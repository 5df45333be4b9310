//! Listings that are not the truth, in the forms of both protocols.

use super::rules::Lie;
use super::wire::Reply;

/// The reply that tells `lie` instead; `old` is what the same listing said once.
pub(super) fn told(lie: Lie, reply: &Reply, old: Option<&Vec<u8>>) -> Reply {
    let body = reply.plain_body();
    let percent = match lie {
        Lie::Cut => return reply.with_body(body.get(..body.len() / 2).unwrap_or_default().to_vec()),
        // What was never listed before was empty then.
        Lie::Stale => {
            return match old {
                Some(old) => reply.with_body(old.clone()),
                None => reply.with_body(shortened(&body, 0)),
            };
        }
        Lie::Empty => 0,
        Lie::Percent(percent) => percent,
    };
    reply.with_body(shortened(&body, percent))
}

/// So many of a hundred entries.
fn shortened(body: &[u8], percent: u8) -> Vec<u8> {
    let kept = |all: usize| all * usize::from(percent) / 100;
    let text = String::from_utf8_lossy(body).into_owned();
    if text.trim_start().starts_with('[') {
        // REST: entries are objects, or in version 1 names.
        let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
        let (separator, joint) = if inner.contains('{') { ("},", "},") } else { (",", ",") };
        let entries: Vec<&str> = inner.split(separator).filter(|entry| !entry.is_empty()).collect();
        let kept = entries.get(..kept(entries.len())).unwrap_or_default().join(joint);
        let closing = if inner.contains('{') && !kept.is_empty() && !kept.ends_with('}') { "}" } else { "" };
        return format!("[{kept}{closing}]").into_bytes();
    }
    // S3: an honest page says how many it has, and an honest-looking one too.
    let mut parts = text.split("<Contents>");
    let head = parts.next().unwrap_or_default().to_owned();
    let entries: Vec<&str> = parts.collect();
    let Some((_, tail)) = entries.last().and_then(|last| last.split_once("</Contents>")) else {
        return text.into_bytes();
    };
    let kept = entries.get(..kept(entries.len())).unwrap_or_default();
    let kept: String = kept.iter().map(|entry| format!("<Contents>{entry}")).collect();
    let kept = if kept.ends_with(tail) && !tail.is_empty() { kept.trim_end_matches(tail).to_owned() } else { kept };
    format!("{head}{kept}{tail}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(body: &str, percent: u8) -> String {
        String::from_utf8_lossy(&shortened(body.as_bytes(), percent)).into_owned()
    }

    #[test]
    fn listings_of_both_protocols_become_shorter_and_stay_well_formed() {
        let rest = r#"[{"name":"a","size":1},{"name":"b","size":2},{"name":"c","size":3}]"#;
        assert_eq!(short(rest, 0), "[]");
        assert_eq!(short(rest, 34), r#"[{"name":"a","size":1}]"#);
        assert_eq!(short(rest, 100), rest);
        assert_eq!(short(r#"["a","b"]"#, 50), r#"["a"]"#);
        let s3 = "<L><N>1</N><Contents><Key>a</Key></Contents><Contents><Key>b</Key></Contents><M>f</M></L>";
        assert_eq!(short(s3, 0), "<L><N>1</N><M>f</M></L>");
        assert_eq!(short(s3, 50), "<L><N>1</N><Contents><Key>a</Key></Contents><M>f</M></L>");
        assert_eq!(short(s3, 100), s3);
        assert_eq!(short("<L><N>1</N></L>", 50), "<L><N>1</N></L>");
    }
}
