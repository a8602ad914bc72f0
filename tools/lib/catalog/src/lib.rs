//! What a catalog entry means: sources, checksums, versions, dependencies, merge, selection. Pure: no I/O.
//!
//! A catalog is a map from package names to entries ([`Catalog`]). An [`Entry`] keeps the Racket hash it was read
//! from, every key of it, and answers questions about the keys that have a meaning. The sections of Racket's
//! documentation that fix those meanings are "Package Catalog Protocol" and "Package Sources"; where the manual is
//! silent, what Racket 8.7 does decides.

mod content_id;
mod dependency;
mod directory;
mod entry;
mod graph;
mod merge;
mod name;
mod near;
mod platform;
mod relative;
mod repository;
mod retarget;
mod source;
mod url;
mod version;

pub use content_id::{ContentId, EntryDigest, catalog_id, entry_digest};
pub use dependency::{BadDependency, Dependency};
pub use directory::{
    DirectoryError, check_item, read_entry, read_names, read_pkgs_all, write_entry, write_entry_into,
    write_names, write_pkgs_all,
};
pub use entry::{Entry, module_path};
pub use graph::{Direction, Graph, Reached};
pub use merge::{Changes, Wins, changes, merge};
pub use name::{BadName, Name};
pub use near::near_names;
pub use platform::Platform;
pub use repository::Repository;
pub use retarget::{Pointed, Target};
pub use source::{BadSource, Kind, Link, Source};
pub use url::file_url;
pub use version::Version;

/// Packages by name, sorted.
pub type Catalog = std::collections::BTreeMap<Name, Entry>;
