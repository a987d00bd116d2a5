//! WB.CHECK: connects to a deployment, and queries its version, its topology and the user's
//! privileges.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mongodb::bson::{Bson, Document, doc};
use mongodb::error::{Error, ErrorKind};
use tokio::time::timeout;

use super::client::{Connected, connect};
use crate::core::delivery::deployment::{Checkup, Need, Rights};
use crate::core::registration::Namespace;
use crate::sink::LinkError;

/// Time limit for all commands of a check together.
const WITHIN: Duration = Duration::from_secs(10);
/// The code of a command that the user may not run.
const UNAUTHORIZED: i32 = 13;

/// Checks the deployment of `uri` with a client of its own.
pub async fn check(uri: &str, needs: &[Need]) -> Checkup {
    let connected = match connect(uri).await {
        Ok(connected) => connected,
        Err(broken) => return Checkup::failed(broken.error),
    };
    let checked = timeout(WITHIN, query(&connected, needs)).await;
    connected.client.shutdown().immediate(true).await;
    match checked {
        Ok(Ok(checkup)) => checkup,
        Ok(Err(broken)) => Checkup::failed(broken.error),
        Err(_) => {
            let seconds = WITHIN.as_secs();
            Checkup::failed(format!("MongoDB does not answer all questions within {seconds} s"))
        }
    }
}

async fn query(connected: &Connected, needs: &[Need]) -> Result<Checkup, LinkError> {
    let admin = async |command: Document| {
        let end = connected.client.database("admin").run_command(command).await;
        end.map_err(|error| connected.watch.broken(&error))
    };
    // The first `hello` waits for a connection; the second one takes only the network round trip,
    // so it is the one to measure the clock skew with.
    tokio::select! {
        greeting = admin(doc! { "hello": 1 }) => greeting?,
        broken = connected.watch.no_server_left() => return Err(broken),
    };
    let sent_ms = unix_ms();
    let hello = admin(doc! { "hello": 1 }).await?;
    let now_ms = sent_ms.midpoint(unix_ms());
    let build = admin(doc! { "buildInfo": 1 }).await?;
    let local_ms = hello.get_datetime("localTime").map_or(now_ms, |time| time.timestamp_millis());
    let mut checkup = Checkup {
        error: String::new(),
        server: build.get_str("version").unwrap_or_default().to_owned(),
        topology: topology(&hello),
        set_name: hello.get_str("setName").unwrap_or_default().to_owned(),
        rights: Vec::new(),
        clock_skew_ms: local_ms.saturating_sub(now_ms),
    };
    let status = admin(doc! { "connectionStatus": 1, "showPrivileges": true }).await?;
    let auth = status.get_document("authInfo").cloned().unwrap_or_default();
    let has_user = auth.get_array("authenticatedUsers").is_ok_and(|users| !users.is_empty());
    let privileges = auth.get_array("authenticatedUserPrivileges").cloned().unwrap_or_default();
    let unrestricted = !has_user && is_unrestricted(connected).await?;
    checkup.rights = needs.iter().map(|need| rights(need, unrestricted, &privileges)).collect();
    checkup.error = match checkup.rights.iter().find(|rights| !rights.missing.is_empty()) {
        _ if !has_user && !unrestricted => {
            "MongoDB asks for authentication, and the connection string has \
             no user; put one with a password into a file and name it with mongodb-uri-file"
                .to_owned()
        }
        Some(Rights { namespace, missing }) => format!(
            "the user lacks the privilege {} on {namespace}; grant the role readWrite on the database",
            missing.join(", ")
        ),
        None => String::new(),
    };
    Ok(checkup)
}

fn topology(hello: &Document) -> &'static str {
    match hello.get_str("msg") {
        _ if hello.contains_key("serviceId") => "load balanced",
        Ok("isdbgrid") => "sharded",
        _ if hello.contains_key("setName") => "replica set",
        _ => "standalone",
    }
}

/// True if a connection without a user may do everything, because the server runs without access
/// control.
async fn is_unrestricted(connected: &Connected) -> Result<bool, LinkError> {
    let database = connected.client.database("admin");
    let list = doc! { "listDatabases": 1, "nameOnly": true, "filter": { "name": "admin" } };
    match database.run_command(list).await {
        Ok(_) => Ok(true),
        Err(error) if is_unauthorized(&error) => Ok(false),
        Err(error) => Err(connected.watch.broken(&error)),
    }
}

fn is_unauthorized(error: &Error) -> bool {
    matches!(&*error.kind, ErrorKind::Command(error) if error.code == UNAUTHORIZED)
}

fn rights(need: &Need, unrestricted: bool, privileges: &[Bson]) -> Rights {
    let Need { namespace, actions } = need;
    let may = |action: &str| {
        unrestricted
            || privileges.iter().filter_map(Bson::as_document).any(|privilege| {
                let resource = privilege.get_document("resource");
                let actions = privilege.get_array("actions").map(Vec::as_slice).unwrap_or_default();
                resource.is_ok_and(|resource| covers(resource, namespace))
                    && actions.iter().any(|given| given.as_str() == Some(action))
            })
    };
    let missing = actions.iter().copied().filter(|action| !may(action)).collect();
    Rights { namespace: namespace.to_string(), missing }
}

/// True if a privilege's resource covers the namespace: an empty name covers every name, except for
/// system collections.
fn covers(resource: &Document, namespace: &Namespace) -> bool {
    if resource.get_bool("anyResource").unwrap_or(false) {
        return true;
    }
    let matches = |name: &str, own: &str| {
        resource.get_str(name).is_ok_and(|given| given.is_empty() || given == own)
    };
    let named = resource.get_str("collection").is_ok_and(|name| !name.is_empty());
    matches("db", &namespace.database)
        && matches("collection", &namespace.collection)
        && (named || !namespace.collection.starts_with("system."))
}

/// This machine's wall clock. The module's own clock is monotonic and may differ from it.
fn unix_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_privilege_covers_by_database_and_collection() {
        let namespace = |collection: &str| Namespace {
            database: "shop".to_owned(),
            collection: collection.to_owned(),
        };
        let covered = |resource: Document| covers(&resource, &namespace("movies"));
        assert!(covered(doc! { "db": "shop", "collection": "" }));
        assert!(covered(doc! { "db": "", "collection": "movies" }));
        assert!(covered(doc! { "anyResource": true }));
        assert!(!covered(doc! { "db": "shop", "collection": "users" }));
        assert!(!covered(doc! { "db": "other", "collection": "" }));
        assert!(!covered(doc! { "cluster": true }));
        let all = doc! { "db": "shop", "collection": "" };
        assert!(!covers(&all, &namespace("system.views")));
    }

    #[test]
    fn missing_privileges_are_listed() {
        let namespace = Namespace { database: "shop".to_owned(), collection: "movies".to_owned() };
        let need = Need { namespace, actions: vec!["insert", "update", "remove"] };
        let granted = doc! {
            "resource": { "db": "shop", "collection": "" }, "actions": ["find", "insert"],
        };
        assert_eq!(rights(&need, false, &[granted.into()]).missing, ["update", "remove"]);
        assert_eq!(rights(&need, true, &[]).missing, Vec::<&str>::new());
    }
}
