//! Any text as a chat template: refused, or it renders or refuses within its bounds.

#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_model::{ChatTemplate, Message};

fuzz_target!(|source: &str| {
    let Ok(template) = ChatTemplate::new(source, "<s>", "</s>") else { return };
    let messages = [("system", "Be brief."), ("user", "Hi")];
    let messages = messages.map(|(role, content)| Message { role: role.into(), content: content.into() });
    let _ = template.render(&messages, true);
});
