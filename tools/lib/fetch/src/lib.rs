//! URL to bytes on disk: time-outs, retries, size caps, checksums, cache.
