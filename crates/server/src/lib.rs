//! Decides and answers: queue, leases, REST.
