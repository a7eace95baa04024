//! The coordinator of one request and the stage it talks to, as pure state machines.
