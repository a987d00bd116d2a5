//! Tests with limits on times or on ratios of times. `make test` runs them one by one, after all
//! others.

mod distance;
mod idle;
mod poison;
mod slices;
mod standalone;
mod wakes;
