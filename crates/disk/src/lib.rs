//! Disk images and how to read or write them.
