//! What each route does, once it is permitted.
//!
//! Whatever changes something runs as a task of its own, to its end: a client that goes away in the middle must not
//! leave a file that the journal does not know, or the reverse.

use axum::body::Body;
use bytes::Bytes;
use format::{FileKind, FileName};
use http::header::{ACCEPT, ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};

use super::answers::{self, Trouble};
use super::download::{AT_ONCE_BYTES, FileBody, ListingForm, Writing, broken_off};
use super::exchange::Exchange;
use super::ranges::{self, Part};
use super::requests::Service;
use super::upload::{self, Received};
use crate::error::StoreError;
use crate::gate::Reservation;
use crate::names::RepositoryPlace;
use crate::route::Route;
use crate::vault::{Placed, StoredFile, Vault};

type Answer = Result<Response<Body>, Trouble>;

impl Service {
    /// Does what the route says.
    pub(super) async fn serve<B>(&self, route: Route, head: &Parts, body: &mut B, exchange: &Exchange) -> Answer
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    {
        match route {
            Route::Create(place) => self.create(place, exchange).await,
            Route::List(place, kind) => self.list(place, kind, head, exchange).await,
            Route::Stat(place, name) => self.stat(place, name, exchange).await,
            Route::Read(place, name) => self.read(place, name, head, exchange).await,
            Route::Store(place, name) => self.store(place, name, body, exchange).await,
            Route::Remove(place, name) => self.remove(place, name, exchange).await,
        }
    }

    async fn create(&self, place: RepositoryPlace, exchange: &Exchange) -> Answer {
        let _work = exchange.pulse.at_work();
        let service = self.clone();
        self.to_the_end(async move {
            // All of an account's new repositories wait for each other here, so that none slips past the limit.
            let _held = service.names.hold_account(&place.account).await;
            service.gate.may_create(&place).await.map_err(Trouble::Denied)?;
            let made = place.clone();
            service.on_disk(move |vault| vault.create_repository(&made)).await?;
            service.gate.created(&place).await.map_err(|error| service.own(error))?;
            Ok(answers::done())
        })
        .await
    }

    async fn list(&self, place: RepositoryPlace, kind: FileKind, head: &Parts, exchange: &Exchange) -> Answer {
        let _work = exchange.pulse.at_work();
        let wants_sizes = head.headers.get(ACCEPT).is_some_and(|value| value == ListingForm::V2.content_type());
        let form = if wants_sizes { ListingForm::V2 } else { ListingForm::V1 };
        let body = self.on_disk(move |vault| Writing::new(vault.list(&place, kind)?, form).into_body()).await?;
        Ok(answers::with(Response::new(body), CONTENT_TYPE, HeaderValue::from_static(form.content_type())))
    }

    async fn stat(&self, place: RepositoryPlace, name: FileName, exchange: &Exchange) -> Answer {
        let _work = exchange.pulse.at_work();
        let bytes = self.on_disk(move |vault| vault.stat(&place, name)).await?;
        Ok(answers::with_length(answers::done(), bytes))
    }

    async fn read(&self, place: RepositoryPlace, name: FileName, head: &Parts, exchange: &Exchange) -> Answer {
        let _work = exchange.pulse.at_work();
        let range = match head.headers.get(RANGE) {
            None => None,
            Some(value) => Some(value.to_str().map_err(|_| Trouble::Range(None))?.to_owned()),
        };
        let (file, part, is_part, short) =
            self.try_on_disk(move |vault| open_part(vault, &place, name, range.as_deref())).await?;
        let body = match short {
            Some(bytes) => Body::from(bytes),
            None => Body::new(FileBody::new(file.clone(), part, self.budget.clone())),
        };
        let mut answer = answers::with_length(Response::new(body), part.length);
        if is_part {
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            let (first, last) = (part.offset, part.offset + part.length.saturating_sub(1));
            let range = answers::value(&format!("bytes {first}-{last}/{}", file.bytes()));
            answer = answers::with(answer, CONTENT_RANGE, range);
        }
        answer = answers::with(answer, ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        Ok(answers::with(answer, CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")))
    }

    async fn store<B>(&self, place: RepositoryPlace, name: FileName, body: &mut B, exchange: &Exchange) -> Answer
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let announced = upload::announced(body);
        if announced.is_some_and(|bytes| bytes > upload::bytes_max(name.kind())) {
            return Err(Trouble::TooLarge);
        }
        let mut reservation = self.gate.reserve(&place, announced.unwrap_or(0)).map_err(Trouble::Denied)?;
        let surroundings =
            upload::Surroundings { vault: &self.vault, exchange, budget: &self.budget, scribes: &self.scribes };
        let received = upload::receive(body, &place, name.kind(), reservation.as_mut(), surroundings).await;
        let received = received.map_err(|trouble| self.told(trouble))?;
        let _work = exchange.pulse.at_work();
        let service = self.clone();
        self.to_the_end(async move { service.keep(place, name, received, reservation).await }).await
    }

    /// The body has come whole: compares it with its name, makes it durable, tells the journal.
    async fn keep(
        &self,
        place: RepositoryPlace,
        name: FileName,
        mut received: Received,
        reservation: Box<dyn Reservation>,
    ) -> Answer {
        let file = received.settle().await.map_err(|error| self.own(error))?;
        let _held = self.names.hold(&place, name).await;
        let bytes = received.bytes;
        let stored_at = place.clone();
        let placed = self
            .try_on_disk(move |_| {
                let incoming = received.finish(file).map_err(Trouble::Own)?;
                if name.id().is_some_and(|id| id != incoming.id()) {
                    return Err(Trouble::WrongHash);
                }
                incoming.place(&stored_at, name).map_err(Trouble::Own)
            })
            .await?;
        if placed == Placed::Taken {
            return Err(Trouble::Taken);
        }
        self.gate.stored(&place, name, bytes, reservation).await.map_err(|error| self.own(error))?;
        Ok(answers::done())
    }

    async fn remove(&self, place: RepositoryPlace, name: FileName, exchange: &Exchange) -> Answer {
        let _work = exchange.pulse.at_work();
        let service = self.clone();
        self.to_the_end(async move {
            let _held = service.names.hold(&place, name).await;
            service.gate.may_remove(&place, name).await.map_err(Trouble::Denied)?;
            let removed_at = place.clone();
            service.on_disk(move |vault| vault.remove(&removed_at, name)).await?;
            service.gate.removed(&place, name).await.map_err(|error| service.own(error))?;
            Ok(answers::done())
        })
        .await
    }

    /// Runs a change as a task that nothing cuts short but the end of the process.
    async fn to_the_end(&self, change: impl Future<Output = Answer> + Send + 'static) -> Answer {
        let under_way = self.changes.clone();
        let task = tokio::spawn(async move {
            let answer = change.await;
            drop(under_way);
            answer
        });
        task.await.unwrap_or_else(|_| Err(Trouble::Own(broken_off())))
    }

    /// Does something with files, on a thread that may block.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Vault) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Trouble> {
        self.try_on_disk(move |vault| work(vault).map_err(Trouble::Own)).await
    }

    /// The same with an answer of its own.
    async fn try_on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Vault) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        let vault = self.vault.clone();
        let done = tokio::task::spawn_blocking(move || work(&vault)).await;
        done.unwrap_or_else(|_| Err(Trouble::Own(broken_off()))).map_err(|trouble| self.told(trouble))
    }

    /// What a failure of the disk is to a client.
    fn own(&self, error: StoreError) -> Trouble {
        if error.is_absent() {
            Trouble::Absent
        } else if error.is_full() {
            Trouble::Full(self.vault.free_bytes())
        } else {
            Trouble::Own(error)
        }
    }

    fn told(&self, trouble: Trouble) -> Trouble {
        match trouble {
            Trouble::Own(error) => self.own(error),
            trouble => trouble,
        }
    }
}

type Opened = (StoredFile, Part, bool, Option<Bytes>);

/// Opens a file, understands the range, and reads the part when it is short; blocks.
fn open_part(vault: &Vault, place: &RepositoryPlace, name: FileName, range: Option<&str>) -> Result<Opened, Trouble> {
    let file = vault.open_file(place, name).map_err(Trouble::Own)?;
    let asked = range.map(|range| ranges::parse(range, file.bytes())).transpose()?.flatten();
    let part = asked.unwrap_or(Part { offset: 0, length: file.bytes() });
    let short = match usize::try_from(part.length) {
        Ok(length) if part.length <= AT_ONCE_BYTES => Some(file.read(part.offset, length).map_err(Trouble::Own)?),
        _ => None,
    };
    Ok((file, part, asked.is_some(), short))
}
