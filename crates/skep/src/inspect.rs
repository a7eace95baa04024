//! `skep model inspect`: what a GGUF file holds.

use crate::args::InspectArgs;
use crate::error::Error;
use crate::output;
use skep_model::{Gguf, describe};

/// Prints the description of a file.
pub(crate) fn run(args: &InspectArgs) -> Result<(), Error> {
    let refuse = |source| Error::Model { path: args.file.clone(), source };
    let file = Gguf::open(&args.file).map_err(refuse)?;
    let description = describe(&file).map_err(refuse)?;
    if args.json {
        let json = serde_json::to_string(&description);
        let json = json.map_err(|error| Error::System { what: "writing JSON".into(), source: error.into() })?;
        output::line(json)
    } else {
        output::write(&description.to_string())
    }
}
