use serde::{Deserialize, Serialize};

/// `kind: "catalog"`: what `catalog-copy` and an in-place `catalog-edit` say of the catalog they wrote.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct CatalogSummary {
    pub kind: String,
    pub v: u32,
    /// Where it was written, as given on the command line.
    pub destination: String,
    /// Number of packages in it.
    pub packages: u64,
    /// Packages that the destination did not have before.
    pub added: u64,
    /// Packages whose entry differs from before.
    pub changed: u64,
    /// Packages that are gone.
    pub removed: u64,
    /// Hash of the content (form and order do not count), so that two runs can be proved to use the same catalog.
    pub catalog_id: String,
}

impl crate::Document for CatalogSummary {
    const KIND: &'static str = "catalog";
}
