//! A stand-in for Backblaze B2, checked by rclone.

use super::StandIn;
use crate::process::Ended;
use crate::raw_http::{Door, Request};

const SCRIPT: &str = include_str!("b2.py");

/// The stand-in at work; dropping it stops it and what it held is gone.
#[derive(Debug)]
pub struct B2Server {
    /// `http://127.0.0.1:PORT/`.
    pub url: String,
    stand_in: StandIn,
}

impl B2Server {
    /// The id of the one key that it knows.
    pub const KEY_ID: &'static str = "test-key-id";
    /// That key.
    pub const KEY: &'static str = "test-application-key";

    /// Starts one; none when there is no Python.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Option<Self> {
        let stand_in = StandIn::start("a stand-in for Backblaze B2", SCRIPT, |_| Ok(()))?;
        Some(Self { url: stand_in.url(), stand_in })
    }

    /// Asks for something unusual, as JSON; what there is to ask for is said in the script.
    pub fn control(&self, json: &str) {
        self.stand_in.control(json);
    }

    /// Puts bytes under a name, behind the back of the client under test; panics when they are not taken.
    pub fn planter(&self, bucket: &str) -> impl Fn(&str, &[u8]) + use<> {
        let (port, bucket) = (self.stand_in.server.port(), bucket.to_owned());
        move |key, bytes| {
            let escaped: String = key.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let request = Request::new("PUT", format!("/plant/{bucket}/{escaped}")).body(bytes);
            let status = Door::plain(port).ask(&request).map(|answer| answer.status);
            assert!(matches!(status, Ok(200)), "cannot put `{key}`: {status:?}");
        }
    }

    /// Runs rclone with the remote `cloud` on it; none when that is not installed.
    pub fn rclone(&self, arguments: &[&str]) -> Option<Ended> {
        let endpoint = self.url.trim_end_matches('/');
        let settings = [("TYPE", "b2"), ("ENDPOINT", endpoint), ("ACCOUNT", Self::KEY_ID), ("KEY", Self::KEY)];
        StandIn::rclone(&settings, arguments)
    }
}
