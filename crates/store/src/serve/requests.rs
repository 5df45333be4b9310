//! From a request's head to its answer: the order in which things are asked.
//!
//! Route, login, account, role, then what the deed itself asks: floor, quota. Who is not let in learns nothing about
//! paths, not even which are none: all that is refused before a login is the same 401.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use bytes::Bytes;
use clock::Clock;
use http::header::{AUTHORIZATION, EXPECT, HeaderName};
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use tokio::sync::mpsc;
use tower::ServiceExt;

use super::answers::{self, Trouble};
use super::budget::Budget;
use super::exchange::Exchange;
use super::names_in_use::NamesInUse;
use super::pulse::Pulse;
use super::scribes::Scribes;
use super::upload;
use crate::access_log::AccessLog;
use crate::gate::{Gate, Refused};
use crate::route::{Route, RouteError};
use crate::vault::Vault;

/// By this a client's complaint finds its line in the log.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What begins with this is no account: a name does not start with a hyphen.
const OWN_PATHS: &str = "/-/";
/// Where Prometheus looks when it is not told where.
const METRICS_PATH: &str = "/metrics";

/// From where a request of the administration comes, as an extension of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub IpAddr);

/// Everything that answering needs, shared by all connections.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) vault: Vault,
    pub(super) gate: SharedGate,
    /// Administration, status and metrics.
    pub(super) own: Option<axum::Router>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) log: AccessLog,
    pub(super) budget: Budget,
    pub(super) scribes: Arc<Scribes>,
    pub(super) names: Arc<NamesInUse>,
    pub(super) numbers: Arc<Numbers>,
    /// Each change that is under way holds a copy, so that stopping can wait for the last.
    pub(super) changes: mpsc::Sender<()>,
}

/// The gate, with a name for `Debug`.
#[derive(Clone)]
pub(super) struct SharedGate(pub(super) Arc<dyn Gate>);

impl std::fmt::Debug for SharedGate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gate")
    }
}

impl std::ops::Deref for SharedGate {
    type Target = dyn Gate;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

/// Gives every request a number: what the process began with, and a count.
#[derive(Debug)]
pub(super) struct Numbers {
    process: u32,
    next: AtomicU64,
}

impl Numbers {
    pub(super) fn new() -> Self {
        // Where the system has no random bytes, two runs of the server may have the same.
        Self { process: getrandom::u32().unwrap_or_default(), next: AtomicU64::new(1) }
    }

    fn next(&self) -> String {
        format!("{:08x}-{}", self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

impl Service {
    /// Answers a request.
    pub(super) async fn answer<B>(&self, request: Request<B>, pulse: Arc<Pulse>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let (head, mut body) = request.into_parts();
        let mut exchange = Exchange::begin(pulse, Arc::clone(&self.clock), self.numbers.next(), &head);
        let is_own = head.uri.path().starts_with(OWN_PATHS) || head.uri.path() == METRICS_PATH;
        let mut answer = match &self.own {
            Some(own) if is_own => Self::answer_own(own.clone(), Request::from_parts(head, body), &exchange).await,
            _ => match self.consider(&head, &mut body, &mut exchange).await {
                Ok(answer) => answer,
                Err(trouble) => {
                    exchange.refused(trouble.refusal().map(crate::RefusalKind::word), trouble.cause());
                    // Who asks first whether to send the body has not sent it; who sends too slowly is not waited for.
                    if !head.headers.contains_key(EXPECT) && !matches!(trouble, Trouble::TooSlow) {
                        upload::drain(body, trouble.is_stranger());
                    }
                    trouble.answer()
                }
            },
        };
        answer.headers_mut().insert(REQUEST_ID, answers::value(exchange.request()));
        let status = answer.status().as_u16();
        answer.map(|body| exchange.follow(status, body, self.log.clone()))
    }

    async fn answer_own<B>(own: axum::Router, request: Request<B>, exchange: &Exchange) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(PeerAddress(address_of(&exchange.pulse)));
        match own.oneshot(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        }
    }

    async fn consider<B>(&self, head: &Parts, body: &mut B, exchange: &mut Exchange) -> Result<Response<Body>, Trouble>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let route = Route::parse(&head.method, head.uri.path(), head.uri.query());
        let admitted = self.permit(head, route, exchange).await;
        let route = match admitted {
            Ok(route) => route,
            Err((place, trouble)) => {
                if let Some(kind) = trouble.refusal() {
                    self.gate.refused(place.as_ref(), kind);
                }
                return Err(trouble);
            }
        };
        let place = route.place().clone();
        let answered = self.serve(route, head, body, exchange).await;
        if let Err(trouble) = &answered
            && let Some(kind) = trouble.refusal()
        {
            self.gate.refused(Some(&place), kind);
        }
        answered
    }

    /// Who is it, and may they?
    async fn permit(
        &self,
        head: &Parts,
        route: Result<Route, RouteError>,
        exchange: &mut Exchange,
    ) -> Result<Route, (Option<crate::RepositoryPlace>, Trouble)> {
        let place = route.as_ref().ok().map(|route| route.place().clone());
        let admitted = {
            let _work = exchange.pulse.at_work();
            self.gate.admit(address_of(&exchange.pulse), authorization(head)).await
        };
        let admitted = admitted.map_err(|refused| (place.clone(), Trouble::Refused(refused)))?;
        exchange.login(&admitted.login);
        exchange.pulse.let_in();
        let route = route.map_err(|error| (None, Trouble::Route(error)))?;
        if route.place().account != admitted.account {
            return Err((place, Trouble::Refused(Refused::Unauthorized)));
        }
        if !admitted.role.permits(route.deed()) {
            return Err((place, Trouble::Role));
        }
        Ok(route)
    }
}

/// The one header that says who it is; two of them say nothing.
fn authorization(head: &Parts) -> Option<&HeaderValue> {
    let mut values = head.headers.get_all(AUTHORIZATION).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

fn address_of(pulse: &Pulse) -> IpAddr {
    // A client of IPv4 on a socket of IPv6 is the same client.
    pulse.address.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |address| address.to_canonical())
}
