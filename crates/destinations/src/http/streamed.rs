//! The body of an answer part by part, for what is longer than memory.

use bytes::Bytes;
use model::Fault;
use reqwest::Response;
use reqwest::header::{CONTENT_RANGE, HeaderMap};

use super::{HttpClient, Matter, announced_length};
use crate::pace::flow::Flow;

/// A body on its way.
#[derive(Debug)]
pub(crate) struct Streamed {
    matter: Matter,
    response: Response,
}

impl HttpClient {
    /// The body of an answer, to be read as it comes.
    pub(crate) fn streamed(&self, matter: &Matter, response: Response) -> Streamed {
        Streamed { matter: matter.clone(), response }
    }

    /// The next part of a body; none when it has ended. One that breaks off is a fault.
    pub(crate) async fn next_part(&self, streamed: &mut Streamed) -> Result<Option<Bytes>, Fault> {
        let part = streamed.response.chunk().await.map_err(|error| self.broken(&streamed.matter, &error))?;
        if let Some(part) = &part {
            let flow = Flow::current();
            flow.note();
            flow.downloaded(part.len()).await;
        }
        Ok(part)
    }
}

/// Where the bytes of an answer begin in the file, and how long the file is, as far as the head tells.
pub(crate) fn place_in_file(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let Some(range) = headers.get(CONTENT_RANGE) else { return Some((0, announced_length(headers))) };
    let (span, total) = range.to_str().ok()?.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = span.split_once('-')?;
    Some((first.trim().parse().ok()?, total.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_head_tells_which_part_of_the_file_follows() {
        let of = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            place_in_file(&headers)
        };
        assert_eq!(of("content-length", "7"), Some((0, Some(7))));
        assert_eq!(of("content-range", "bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(of("content-range", "bytes 5-9/*"), Some((5, None)));
        assert_eq!(of("content-range", "lines 5-9/10"), None);
        assert_eq!(of("x-other", "1"), Some((0, None)));
    }
}
