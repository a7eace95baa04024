//! Whether the network counts what is used.

use super::bus::{Bus, BusError, Call};
use skep_owner::Reading;

const METERED: Call<'_> = Call::Property {
    destination: "org.freedesktop.NetworkManager",
    path: "/org/freedesktop/NetworkManager",
    interface: "org.freedesktop.NetworkManager",
    name: "Metered",
};

/// `NMMetered`: 1 yes, 2 no, 3 and 4 the same as NetworkManager guesses from the kind of network, 0 unknown.
pub(super) fn metered(bus: &mut Bus) -> Reading<bool> {
    match bus.ask(&METERED) {
        Ok(1 | 3) => Reading::Known(true),
        Ok(2 | 4) => Reading::Known(false),
        Ok(_) => Reading::cannot(
            "NetworkManager does not know whether the network is metered",
            "Say it with `nmcli connection modify NAME connection.metered yes`, or no.",
        ),
        Err(BusError::Silent) => Reading::Unknown,
        Err(error) => Reading::cannot(
            format!("NetworkManager cannot be asked: {error}"),
            "Where no NetworkManager runs, set share.when_metered to never on a network that is metered.",
        ),
    }
}
