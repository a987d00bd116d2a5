//! Who this server is when it takes the lease.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::api::config;
use super::api::context::Ctx;
use crate::core::delivery::lease::Holder;

/// This process. Its place is the machine since its start, the host name, the ports and the folder of its
/// data: another process that has all of these follows one that has ended.
pub fn holder(ctx: Ctx<'_>) -> Holder {
    let line = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let host = line("/proc/sys/kernel/hostname");
    let setting = |name| {
        let value = config::value(ctx, name).unwrap_or_default();
        String::from_utf8_lossy(&value).into_owned()
    };
    let ports = [setting(c"port"), setting(c"tls-port"), setting(c"unixsocket")];
    // The server has changed to the folder that its setting `dir` names.
    let folder = fs::metadata(".").map(|at| format!("{}:{}", at.dev(), at.ino()));
    let place = [line("/proc/sys/kernel/random/boot_id"), host.clone(), ports.join(",")];
    Holder {
        id: fastrand::u128(..).to_be_bytes(),
        place: format!("{} {}", place.join(" "), folder.unwrap_or_default()),
        address: format!(
            "{host}:{}",
            ports
                .iter()
                .find(|port| !matches!(port.as_str(), "" | "0"))
                .cloned()
                .unwrap_or_default()
        ),
    }
}
