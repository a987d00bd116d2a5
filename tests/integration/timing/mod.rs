//! What is held to a time, or to a ratio of times, is measured without other tests beside it:
//! `make test` runs these one by one, after all others.

mod distance;
mod idle;
mod poison;
mod slices;
mod standalone;
