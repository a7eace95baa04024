//! RK-1: kernels that give the same bits on every CPU.
