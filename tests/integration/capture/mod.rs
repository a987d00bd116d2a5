//! Which changes of which keys are seen, and how many of them are written.

mod changes;
mod coalescing;
mod databases;
mod exclude;
mod keys;
mod moved_values;
mod no_op_events;
mod payloads;
mod restores;
