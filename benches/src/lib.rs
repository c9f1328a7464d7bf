//! Benchmarks: ratios beside real tools, in one run.
