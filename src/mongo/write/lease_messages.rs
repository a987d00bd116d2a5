//! Why the lease is not held, for operators.

use crate::core::delivery::lease::Claim;
use crate::sink::LinkError;

/// MongoDB refuses to keep the lease.
pub fn refused(claim: &Claim, why: &str) -> String {
    let namespace = &claim.namespace;
    format!(
        "the lease cannot be kept in {namespace}: {why}; grant the role readWrite on its database or set \
         lease-namespace: without a lease, a server that was replaced can overwrite newer documents"
    )
}

/// The lease was lost.
pub fn not_held() -> LinkError {
    waiting("")
}

/// The server with this address holds the lease, or another one, if it is empty.
pub fn waiting(address: &str) -> LinkError {
    let holder = if address.is_empty() { "another server" } else { address };
    LinkError {
        waits: true,
        ..LinkError::transient(format!(
            "{holder} holds the lease of this data, so this server writes nothing until that one has been \
             silent for 15 s; if this data is a copy, WB.LEASE NEW makes it independent"
        ))
    }
}
