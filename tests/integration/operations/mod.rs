//! Set-up, secrets, hardened systems, and reports to the operator.

mod hardened;
mod secrets;
mod settings;
mod troubles;
mod warnings;
