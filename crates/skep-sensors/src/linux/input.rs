//! When somebody last used this machine.

use super::Root;
use super::bus::{Bus, BusError, Call};
use skep_owner::Reading;
use std::os::unix::fs::MetadataExt;

/// GNOME's: milliseconds since the last input of the session.
const MUTTER: Call<'_> = Call::Method {
    destination: "org.gnome.Mutter.IdleMonitor",
    path: "/org/gnome/Mutter/IdleMonitor/Core",
    interface: "org.gnome.Mutter.IdleMonitor",
    member: "GetIdletime",
};
/// Whether all sessions are idle.
const IDLE_HINT: Call<'_> = of_logind("IdleHint");
/// Since when, in microseconds since 1970.
const IDLE_SINCE: Call<'_> = of_logind("IdleSinceHint");

const fn of_logind(name: &str) -> Call<'_> {
    Call::Property {
        destination: "org.freedesktop.login1",
        path: "/org/freedesktop/login1",
        interface: "org.freedesktop.login1.Manager",
        name,
    }
}

pub(super) fn read(root: &Root, session_bus: &mut Bus, system_bus: &mut Bus, now_ms: u64) -> Reading<u64> {
    let terminals_ms = terminals_ms(root, now_ms);
    let session_ms = session_bus.ask(&MUTTER).ok();
    // Others who are logged in are not seen by the monitor of this session.
    let alone = root.names("run/systemd/users").iter().all(|user| *user == root.user().to_string());
    let desktop = match session_ms {
        Some(session_ms) if alone => Reading::Known(session_ms),
        Some(session_ms) => logind(root, system_bus, now_ms).map(|all_ms| all_ms.min(session_ms)),
        None => logind(root, system_bus, now_ms),
    };
    match (desktop, terminals_ms) {
        (Reading::Known(desktop_ms), Some(terminals_ms)) => Reading::Known(desktop_ms.min(terminals_ms)),
        (desktop, _) => desktop,
    }
}

/// Milliseconds since the first of all sessions was not idle, or since the machine started.
fn logind(root: &Root, bus: &mut Bus, now_ms: u64) -> Reading<u64> {
    match bus.ask(&IDLE_HINT) {
        Ok(0) => Reading::Known(0),
        Ok(_) => match bus.ask(&IDLE_SINCE) {
            Ok(since_us) => Reading::Known(now_ms.saturating_sub(since_us / 1000)),
            Err(_) => Reading::Unknown,
        },
        Err(BusError::Silent) => Reading::Unknown,
        Err(_) if has_desktop(root) => Reading::cannot(
            "a desktop is open, and no logind says when it was last used",
            "Set share.when_in_use to if_unsure or always to lend this machine beside it; the caps for use hold then.",
        ),
        Err(_) => up_ms(root).map_or(Reading::Unknown, Reading::Known),
    }
}

/// Whether an X or Wayland server has a socket here.
fn has_desktop(root: &Root) -> bool {
    let of_wayland = |user: std::path::PathBuf| root.names(user).iter().any(|name| name.starts_with("wayland-"));
    !root.names("tmp/.X11-unix").is_empty() || root.inside("run/user").into_iter().any(of_wayland)
}

/// Milliseconds since something was last typed into a terminal: the kernel moves the time of its last reading, in steps of 8 s.
fn terminals_ms(root: &Root, now_ms: u64) -> Option<u64> {
    let numbered = |name: &str, prefix: &str| {
        name.strip_prefix(prefix).is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    };
    let consoles = root.inside("dev").into_iter().filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        numbered(name, "tty") && name != "tty0"
    });
    let windows = root
        .inside("dev/pts")
        .into_iter()
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| numbered(name, "")));
    let read_ms = consoles.chain(windows).filter_map(|terminal| {
        let metadata = root.metadata(terminal).ok()?;
        let seconds = u64::try_from(metadata.atime()).ok()?;
        seconds.checked_mul(1000)?.checked_add(u64::try_from(metadata.atime_nsec()).ok()? / 1_000_000)
    });
    Some(now_ms.saturating_sub(read_ms.max()?))
}

fn up_ms(root: &Root) -> Option<u64> {
    let text = root.text("proc/uptime").ok()?;
    let seconds: u64 = text.split(['.', ' ']).next()?.parse().ok()?;
    seconds.checked_mul(1000)
}
