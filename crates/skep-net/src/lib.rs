//! The wire: endpoint by key, frames, heartbeats.
