//! What is put around a place, each a decorator of the same trait: retries, turns, the pace, the stall limit, signs of
//! life; and a second place.

mod crowding;
mod hot_and_cold;
mod pacing;
pub(crate) mod progress;
mod retrying;
mod stalling;

pub use crowding::Crowding;
pub use hot_and_cold::HotAndCold;
pub use pacing::{Metering, Pacing};
pub use retrying::{Patience, RetryListener, RetryNotice, Retrying, Series};
pub use stalling::Stalling;
