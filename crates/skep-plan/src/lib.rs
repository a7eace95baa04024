//! Pure planning: which node serves which blocks, and which chain answers a request.
