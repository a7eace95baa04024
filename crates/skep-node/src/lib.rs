//! A node: stages it serves, requests it coordinates.
