//! Set-up, secrets, hardened systems, and what an operator is shown.

mod hardened;
mod secrets;
mod settings;
mod troubles;
mod warnings;
