//! Listings that are not the truth, in the forms of all protocols.

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
    if text.trim_start().starts_with('{') {
        return shortened_pages(&text, percent).unwrap_or(text).into_bytes();
    }
    // An honest page of a bucket says how many it has, and an honest-looking one too; that of a folder begins with itself.
    let forms = [("<Contents>", "</Contents>", 0), ("<Blob>", "</Blob>", 0)];
    let folders = ["D", "d"].map(|space| (format!("<{space}:response"), format!("</{space}:response>"), 1));
    let folders = folders.iter().map(|(open, close, itself)| (open.as_str(), close.as_str(), *itself));
    for (open, close, always) in forms.into_iter().chain(folders) {
        let entries = elements(&text, open, close);
        let Some(last) = entries.last() else { continue };
        let kept = always + kept(entries.len().saturating_sub(always));
        let Some(first) = entries.get(kept) else { break };
        let (head, tail) = (text.get(..first.start), text.get(last.end..));
        return [head.unwrap_or_default(), tail.unwrap_or_default()].concat().into_bytes();
    }
    text.into_bytes()
}

/// A page in JSON: Google's, B2's or Dropbox's.
fn shortened_pages(text: &str, percent: u8) -> Option<String> {
    let mut page: serde_json::Value = serde_json::from_str(text).ok()?;
    for list in ["items", "files", "entries"] {
        if let Some(entries) = page.get_mut(list).and_then(|entries| entries.as_array_mut()) {
            entries.truncate(entries.len() * usize::from(percent) / 100);
        }
    }
    serde_json::to_string(&page).ok()
}

/// Where the elements are, from the beginning of `open` to the end of `close`.
fn elements(text: &str, open: &str, close: &str) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = text.get(at..).and_then(|rest| rest.find(open)).map(|start| at + start) {
        let Some(length) = text.get(start..).and_then(|rest| rest.find(close)) else { break };
        at = start + length + close.len();
        found.push(start..at);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(body: &str, percent: u8) -> String {
        String::from_utf8_lossy(&shortened(body.as_bytes(), percent)).into_owned()
    }

    #[test]
    fn listings_of_all_protocols_become_shorter_and_stay_well_formed() {
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
        assert_eq!(short("<L><Blob>a</Blob><Blob>b</Blob></L>", 50), "<L><Blob>a</Blob></L>");
        let folder =
            |entries: &str| format!("<D:multistatus><D:response x>itself</D:response>{entries}</D:multistatus>");
        let two = folder("<D:response>a</D:response><D:response>b</D:response>");
        assert_eq!(short(&two, 50), folder("<D:response>a</D:response>"));
        assert_eq!(short(&two, 0), folder(""));
        assert_eq!(short(r#"{"files":[{"a":1},{"a":2}],"next":null}"#, 50), r#"{"files":[{"a":1}],"next":null}"#);
    }
}
