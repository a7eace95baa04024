//! `skep relay`: a relay of one's own.

use crate::args::RelayArgs;
use crate::error::Error;
use crate::{home, output, up};
use skep_relay::{RelayConfig, RelayServer};

/// Runs a relay until Ctrl-C.
pub(crate) async fn run(args: RelayArgs) -> Result<(), Error> {
    if args.end_with_stdin {
        up::end_with_stdin()?;
    }
    let secret = skep_net::load_or_create_key(&home::folder().join("relay.key"))?;
    let config = RelayConfig { secret, bind: args.listen, public: args.public, machine_rate: args.rate };
    let server = RelayServer::start(config).await?;
    let relay = server.relay().to_string();
    if args.json {
        output::line(serde_json::json!({ "relay": relay, "pid": std::process::id() }))?;
    } else {
        output::line(&relay)?;
        eprintln!("A gateway uses it with: skep up --relay {relay}");
        eprintln!("Its invites then name it, so whoever joins uses it too. Show it to nobody else. Ctrl-C ends it");
    }
    up::ended().await;
    Ok(())
}
