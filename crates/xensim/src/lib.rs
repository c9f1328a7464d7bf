//! A simulated XenServer pool.
