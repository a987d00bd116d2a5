//! Splits a connection string into its parts. Text that could be a password is never repeated in an
//! error.

/// The error for a user and password that cannot be separated from the rest.
const ENCODING: &str = "special characters in user and password must be percent-encoded, such as \
     %40 for @, %3A for :, %2F for / and %3F for ?";
const HOSTS: &str = "it takes mongodb://<host>:<port>,...";

/// The parts of a connection string.
#[derive(Debug)]
pub struct Parts<'u> {
    /// The scheme is `mongodb+srv`.
    pub srv: bool,
    /// Everything before the `?` of the options.
    pub before_options: &'u str,
    /// User, and password if there is one.
    pub user: Option<(&'u str, Option<&'u str>)>,
    /// How many hosts it names.
    pub hosts: usize,
    /// Names and values of the options, still encoded. A value is missing where there is no `=`.
    pub options: Vec<(&'u str, Option<&'u str>)>,
}

/// Splits `uri` into its parts.
///
/// # Errors
/// What is wrong with it, and the form that is expected.
pub fn split(uri: &str) -> Result<Parts<'_>, String> {
    let (srv, rest) = match uri.split_once("://") {
        Some(("mongodb", rest)) => (false, rest),
        Some(("mongodb+srv", rest)) => (true, rest),
        _ => return Err("it must begin with mongodb:// or mongodb+srv://".to_owned()),
    };
    if uri.contains(char::is_control) {
        return Err("it holds a line break or another control character".to_owned());
    }
    let (before, options) = rest.split_once('?').unwrap_or((rest, ""));
    // An unencoded `?` in a password makes its rest look like options, so an `@` there is refused.
    if options.contains('@') {
        return Err(ENCODING.to_owned());
    }
    let (user, hosts) = match before.rsplit_once('@') {
        Some((user, hosts)) => (Some(user_of(user)?), hosts),
        None => (None, before),
    };
    let (hosts, database) = hosts.split_once('/').unwrap_or((hosts, ""));
    hosts.split(',').try_for_each(|host| check_host(host, srv))?;
    if srv && hosts.contains(',') {
        return Err("mongodb+srv takes one name".to_owned());
    }
    let database = decoded(database);
    if database.contains(['/', '\\', ' ', '"', '$']) {
        return Err("the database tail the hosts has a name that MongoDB does not take".to_owned());
    }
    let options = options.split('&').filter(|pair| !pair.is_empty());
    let options = options.map(|pair| match pair.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (pair, None),
    });
    Ok(Parts {
        srv,
        before_options: &uri[..uri.len() - rest.len() + before.len()],
        user,
        hosts: hosts.split(',').count(),
        options: options.collect(),
    })
}

fn user_of(text: &str) -> Result<(&str, Option<&str>), String> {
    let (name, password) = match text.split_once(':') {
        Some((name, password)) => (name, Some(password)),
        None => (text, None),
    };
    let encoded = |text: &str| {
        let reserved = text.contains([':', '/', '?', '#', '[', ']', '@']);
        let escapes = text.split('%').skip(1);
        !reserved && escapes.map(str::as_bytes).all(|escape| hex(escape).is_some())
    };
    if !encoded(name) || !password.is_none_or(encoded) {
        return Err(ENCODING.to_owned());
    }
    if name.is_empty() {
        return Err("there is no user in front of the @".to_owned());
    }
    Ok((name, password))
}

fn check_host(host: &str, srv: bool) -> Result<(), String> {
    if host.ends_with(".sock") && !srv {
        return Ok(());
    }
    let (name, port) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((name, port)) if name.parse::<std::net::Ipv6Addr>().is_ok() => {
            (name, (!port.is_empty()).then(|| port.strip_prefix(':').unwrap_or_default()))
        }
        _ if host.starts_with('[') => {
            return Err("the text in brackets is not an IPv6 address".to_owned());
        }
        _ => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    if name.is_empty() {
        return Err(format!("the name of a host is empty; {HOSTS}"));
    }
    if srv && port.is_some() {
        return Err("mongodb+srv takes a name without a port".to_owned());
    }
    if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
        return Err("the port of a host is no number from 1 to 65535; an IPv6 address goes in \
                    brackets"
            .to_owned());
    }
    Ok(())
}

/// `text` with percent-encoding decoded; invalid escapes are kept.
pub fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| hex(tail)).flatten();
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The byte that the first two characters of `text` encode in hexadecimal.
fn hex(text: &[u8]) -> Option<u8> {
    let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}
