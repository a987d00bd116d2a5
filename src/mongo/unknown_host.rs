//! Finds the server whose host name cannot be resolved, in the driver's description of the
//! topology.

/// The text before and after a server's address in the driver's description.
const SERVER: (&str, &str) = ("{ Address: ", ", Type: ");
/// Part of the error of a failed name lookup.
const UNKNOWN: &str = "failed to lookup address";
/// The text before and after the name of the replica set.
const SET: (&str, &str) = ("Set Name: ", ",");

/// A sentence about a host whose name cannot be resolved, if there is one. `seeds` are the
/// addresses in the connection string. Any other address comes from the configuration of the
/// replica set, whose host names, such as those of containers, may not resolve on this machine.
pub fn unknown_host(topology: &str, seeds: &[String]) -> Option<String> {
    let servers = topology.split(SERVER.0).skip(1);
    let mut unknown = servers
        .filter(|server| server.contains(UNKNOWN))
        .filter_map(|server| server.split_once(SERVER.1))
        .map(|(address, _)| address)
        .peekable();
    let first = *unknown.peek()?;
    let host =
        |address: &str| address.rsplit_once(':').map_or(address, |(host, _)| host).to_owned();
    let Some(member) = unknown.find(|address| seeds.iter().all(|seed| seed != address)) else {
        let host = host(first);
        return Some(format!(
            "the name of the connection string's host {host} is unknown; correct it, or let this \
             machine resolve it"
        ));
    };
    let set = topology.split_once(SET.0).and_then(|(_, rest)| rest.split_once(SET.1));
    let set = set.map_or(String::new(), |(name, _)| format!(" {name}"));
    let host = host(member);
    Some(format!(
        "the host name {host} is unknown; it comes from the configuration of the replica set{set}, not \
         from the connection string: let this machine resolve it, or add directConnection=true to use \
         only the member that the connection string names"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPOLOGY: &str = "{ Type: ReplicaSetNoPrimary, Set Name: rs, Max Set Version: 1, Servers: \
         [ { Address: mongo1:27017, Type: Unknown, Error: Kind: I/O error: failed to lookup address \
         information: Name or service not known, labels: {} } ] }";

    #[test]
    fn a_member_from_the_sets_configuration_is_distinguished_from_a_seed() {
        let sentence = unknown_host(TOPOLOGY, &["127.0.0.1:27017".to_owned()]).unwrap();
        for words in ["host name mongo1 is unknown", "replica set rs,", "directConnection=true"] {
            assert!(sentence.contains(words), "{sentence}");
        }
        let sentence = unknown_host(TOPOLOGY, &["mongo1:27017".to_owned()]).unwrap();
        assert!(sentence.contains("connection string's host mongo1 is unknown"), "{sentence}");
    }

    #[test]
    fn other_failures_are_not_reported_as_an_unknown_host() {
        let refused = TOPOLOGY.replace(UNKNOWN, "Connection refused");
        assert_eq!(unknown_host(&refused, &[]), None);
        assert_eq!(unknown_host("", &[]), None);
    }
}
