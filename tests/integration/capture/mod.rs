//! Which changes of which keys are captured, and how many writes they cause.

mod changes;
mod coalescing;
mod databases;
mod exclude;
mod keys;
mod moved_values;
mod no_op_events;
mod payloads;
mod restores;
