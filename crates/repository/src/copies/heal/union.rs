//! All copies together as one place: it has what any of them has sound. Nothing can be written to it.
//!
//! A check of it tells what is lost for good: whatever it cannot give back, no copy can.

use async_trait::async_trait;
use bytes::Bytes;
use destinations::{Destination, Listed, Span};
use format::{FileKind, FileName};
use model::{Fault, FaultKind};

use super::survey::Survey;
use crate::copies::CopySet;

#[derive(Debug)]
pub(crate) struct Union<'a> {
    pub(crate) copies: &'a CopySet,
    pub(crate) survey: &'a Survey,
}

impl Union<'_> {
    fn fault(kind: FaultKind, action: &'static str, name: FileName, why: &str) -> Fault {
        Fault::new(kind, action, name.path(), "all copies", why)
    }

    fn holders(&self, name: FileName) -> impl Iterator<Item = &dyn Destination> {
        let sound = self.survey.files.get(&name).map_or(0, |standing| standing.sound);
        let holders = self.copies.live().filter(move |(number, _)| sound & (1 << number) != 0);
        holders.map(|(_, copy)| copy.destination().as_ref())
    }
}

#[async_trait]
impl Destination for Union<'_> {
    fn place(&self) -> &str {
        "all copies"
    }

    async fn create(&self) -> Result<(), Fault> {
        Err(Self::fault(FaultKind::Refused, "create", FileName::CONFIG, "nothing is written here"))
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, Fault> {
        let sound = self.survey.files.iter().filter(|(name, standing)| name.kind() == kind && standing.sound != 0);
        Ok(sound.filter_map(|(name, standing)| Some(Listed { id: name.id()?, size: standing.size })).collect())
    }

    async fn stat(&self, name: FileName) -> Result<u64, Fault> {
        let sound = self.survey.files.get(&name).filter(|standing| standing.sound != 0);
        sound
            .map(|standing| standing.size)
            .ok_or_else(|| Self::fault(FaultKind::NotFound, "stat", name, "no copy has it"))
    }

    async fn read(&self, name: FileName, span: Span) -> Result<Bytes, Fault> {
        let mut last = Self::fault(FaultKind::NotFound, "read", name, "no copy has it");
        let holders: Vec<&dyn Destination> = self.holders(name).collect();
        for holder in holders {
            match holder.read(name, span).await {
                Ok(bytes) => return Ok(bytes),
                Err(fault) => last = fault,
            }
        }
        Err(last)
    }

    async fn write(&self, name: FileName, _: Bytes) -> Result<(), Fault> {
        Err(Self::fault(FaultKind::Refused, "write", name, "nothing is written here"))
    }

    async fn remove(&self, name: FileName) -> Result<(), Fault> {
        Err(Self::fault(FaultKind::Refused, "remove", name, "nothing is removed here"))
    }
}
