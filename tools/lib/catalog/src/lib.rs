//! What a catalog entry means: sources, checksums, versions, dependencies, merge, selection. Pure.
