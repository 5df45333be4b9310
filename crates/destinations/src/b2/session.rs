//! Who we are for B2: a token for a day, where to ask, and the id of the bucket; fetched with the key when it is missing
//! or refused. And upload addresses, each good for one upload at a time, kept while they work.

use std::sync::{Arc, Mutex, PoisonError};

use model::{Fault, FaultKind};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, Request, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::answers::{self, Account, Buckets, UploadUrl};
use super::{B2Bucket, PAGE_LIMIT_BYTES};
use crate::http::{self, Matter, Refusal};

const AUTHORIZE: &str = "b2api/v4/b2_authorize_account";
const CALLS: &str = "b2api/v4/";

/// What B2 told us about ourselves.
pub(super) struct Session {
    pub(super) account_id: String,
    token: HeaderValue,
    api: Url,
    pub(super) download: Url,
    /// None where there is no such bucket, or none that the key may see.
    bucket_id: Option<String>,
}

/// An upload address with its token.
pub(super) struct Lane {
    url: Url,
    token: HeaderValue,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lane")
    }
}

/// The upload addresses that nobody uses at the moment.
#[derive(Debug, Default)]
pub(super) struct Lanes(Mutex<Vec<Lane>>);

impl Lanes {
    fn take(&self) -> Option<Lane> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give_back(&self, lane: Lane) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(lane);
    }
}

impl B2Bucket {
    /// Who we are, from memory or fetched.
    pub(super) async fn session(&self, matter: &Matter) -> Result<Arc<Session>, Fault> {
        // Held while it is fetched: one fetch is enough for all who wait.
        let mut current = self.session.lock().await;
        if let Some(session) = &*current {
            return Ok(Arc::clone(session));
        }
        let mut session = self.authorize(matter).await?;
        if session.bucket_id.is_none() {
            session.bucket_id = self.find_bucket(matter, &session).await?;
        }
        let session = Arc::new(session);
        // A bucket that is missing may be made by somebody else the next moment.
        if session.bucket_id.is_some() {
            *current = Some(Arc::clone(&session));
        }
        Ok(session)
    }

    /// Forgets a session, unless somebody has a newer one already.
    pub(super) async fn forget(&self, refused: &Arc<Session>) {
        let mut current = self.session.lock().await;
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, refused)) {
            *current = None;
        }
    }

    pub(super) fn bucket_id(&self, matter: &Matter, session: &Session) -> Result<String, Fault> {
        let missing = || {
            let cause = format!("there is no bucket `{}`, or none that this key may see", self.bucket);
            self.http.fault(FaultKind::NotFound, matter, cause)
        };
        session.bucket_id.clone().ok_or_else(missing)
    }

    async fn authorize(&self, matter: &Matter) -> Result<Session, Fault> {
        let misconfigured = |cause: String| self.http.fault(FaultKind::Misconfigured, matter, cause);
        let url = self.endpoint.join(AUTHORIZE).map_err(|error| misconfigured(error.to_string()))?;
        let mut request = http::request(Method::GET, url);
        request.headers_mut().insert(AUTHORIZATION, self.key.clone());
        let response = self.http.ask(matter, request).await?.map_err(|refusal| {
            let fault = self.refused(matter, &refusal);
            match fault.kind {
                // It is the door that is missing, and not what was asked for behind it.
                FaultKind::NotFound => Fault { kind: FaultKind::Misconfigured, ..fault },
                _ => fault,
            }
        })?;
        let body = self.http.body(matter, response, PAGE_LIMIT_BYTES).await?;
        // The text of the parser's error may hold a piece of what was parsed.
        let damaged = |cause: &str| self.http.fault(FaultKind::Damaged, matter, cause);
        let account: Account =
            serde_json::from_slice(&body).map_err(|_| damaged("the answer holds no access token"))?;
        let storage = account.api_info.storage_api;
        let address = |text: &str| {
            let url = http::endpoint(&format!("{}/", text.trim_end_matches('/'))).ok();
            // The token goes there, so it must be no less safe than where it came from.
            url.filter(|url| url.scheme() == self.endpoint.scheme() || url.scheme() == "https")
                .ok_or_else(|| damaged("the answer names an address that cannot be used"))
        };
        Ok(Session {
            account_id: account.account_id,
            token: sensitive(&account.authorization_token).ok_or_else(|| damaged("the access token cannot be sent"))?,
            api: address(&storage.api_url)?,
            download: address(&storage.download_url)?,
            bucket_id: storage.allowed.bucket_id(&self.bucket),
        })
    }

    async fn find_bucket(&self, matter: &Matter, session: &Session) -> Result<Option<String>, Fault> {
        let question = json!({ "accountId": session.account_id, "bucketName": self.bucket });
        let request = self.call_request(matter, session, "b2_list_buckets", &question)?;
        let answer = self.ask_in(session, matter, request).await?;
        let Buckets { buckets } = self.parsed(matter, answer).await?;
        Ok(buckets.into_iter().find(|bucket| bucket.bucket_name == self.bucket).map(|bucket| bucket.bucket_id))
    }

    /// A call with a question in JSON.
    pub(super) fn call_request(
        &self,
        matter: &Matter,
        session: &Session,
        name: &str,
        question: &Value,
    ) -> Result<Request, Fault> {
        let url = session.api.join(&format!("{CALLS}{name}"));
        let url = url.map_err(|error| self.http.fault(FaultKind::Misconfigured, matter, error))?;
        let mut request = http::request(Method::POST, url);
        http::upload(&mut request, question.to_string().into());
        Ok(request)
    }

    pub(super) async fn ask_in(
        &self,
        session: &Session,
        matter: &Matter,
        mut request: Request,
    ) -> Result<Result<Response, Refusal>, Fault> {
        request.headers_mut().insert(AUTHORIZATION, session.token.clone());
        self.http.ask(matter, request).await
    }

    /// An answer in JSON.
    pub(super) async fn parsed<T: DeserializeOwned>(
        &self,
        matter: &Matter,
        answer: Result<Response, Refusal>,
    ) -> Result<T, Fault> {
        let response = answer.map_err(|refusal| self.refused(matter, &refusal))?;
        let body = self.http.body(matter, response, PAGE_LIMIT_BYTES).await?;
        let damaged = |error| self.http.fault(FaultKind::Damaged, matter, format!("the answer is another: {error}"));
        serde_json::from_slice(&body).map_err(damaged)
    }

    async fn new_lane(&self, matter: &Matter) -> Result<Lane, Fault> {
        let question = |bucket: &str| json!({ "bucketId": bucket });
        let told: UploadUrl = self.call(matter, "b2_get_upload_url", question).await?;
        let unusable = || self.http.fault(FaultKind::Damaged, matter, "the upload address cannot be used");
        let url = Url::parse(&told.upload_url).ok();
        let url = url.filter(|url| url.scheme() == self.endpoint.scheme() || url.scheme() == "https");
        let token = sensitive(&told.authorization_token).ok_or_else(unusable)?;
        Ok(Lane { url: url.ok_or_else(unusable)?, token })
    }

    /// Sends an upload, and once more to another address when this one has ended or is busy.
    pub(super) async fn send_up(
        &self,
        matter: &Matter,
        change: impl Fn(&mut Request),
    ) -> Result<Result<Response, Refusal>, Fault> {
        let mut lane = match self.lanes.take() {
            Some(lane) => lane,
            None => self.new_lane(matter).await?,
        };
        let mut is_second = false;
        loop {
            let mut request = http::request(Method::POST, lane.url.clone());
            request.headers_mut().insert(AUTHORIZATION, lane.token.clone());
            change(&mut request);
            // An address whose connection broke is not used again, nor is one that refused.
            match self.http.ask(matter, request).await? {
                Ok(response) => {
                    self.lanes.give_back(lane);
                    return Ok(Ok(response));
                }
                Err(refusal) if is_second || !wants_another_address(&refusal) => return Ok(Err(refusal)),
                Err(_) => {
                    lane = self.new_lane(matter).await?;
                    is_second = true;
                }
            }
        }
    }
}

fn wants_another_address(refusal: &Refusal) -> bool {
    match refusal.status {
        StatusCode::UNAUTHORIZED => answers::parse_error(&refusal.body).is_about_the_token(),
        status => status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::REQUEST_TIMEOUT,
    }
}

/// A header that no `Debug` shows.
pub(super) fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(text).ok()?;
    header.set_sensitive(true);
    Some(header)
}
