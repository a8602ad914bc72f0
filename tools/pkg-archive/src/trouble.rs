//! Why one package could not be archived; the others go on.

use contract::archived::Cause;

/// The cause for programs, the sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub cause: Cause,
    pub message: String,
}

impl Trouble {
    pub fn new(cause: Cause, message: impl Into<String>) -> Trouble {
        Trouble { cause, message: message.into() }
    }
    pub fn gone(message: impl Into<String>) -> Trouble {
        Trouble::new(Cause::Gone, message)
    }
    pub fn bad_archive(message: impl Into<String>) -> Trouble {
        Trouble::new(Cause::BadArchive, message)
    }
    pub fn bad_source(message: impl Into<String>) -> Trouble {
        Trouble::new(Cause::BadSource, message)
    }
    pub fn too_large(message: impl Into<String>) -> Trouble {
        Trouble::new(Cause::TooLarge, message)
    }
    /// `expected` is what the catalog promised.
    pub fn checksum(what: &str, expected: &str, got: &str) -> Trouble {
        Trouble::new(
            Cause::Checksum,
            format!("mismatched checksum of {what}: expected {expected}, got {got}"),
        )
    }
}

/// Bounds on what a package may unpack to, so that none can fill the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// All files of a package together, unpacked.
    pub unpacked_bytes: u64,
    /// A file that is fetched, as it travels.
    pub packed_bytes: u64,
    /// Files and directories.
    pub entries: usize,
    /// Unpacked by packed size, counted once the unpacked size is above [`Limits::RATIO_FROM_BYTES`].
    pub ratio: u64,
}

impl Limits {
    /// Below this no ratio is suspicious: a small file of blanks packs very well.
    pub const RATIO_FROM_BYTES: u64 = 32 << 20;

    pub fn of_mb(package_mb: u64) -> Limits {
        Limits {
            unpacked_bytes: package_mb << 20,
            packed_bytes: package_mb << 20,
            entries: 65_000,
            ratio: 200,
        }
    }
    pub fn check_entries(&self, entries: usize) -> Result<(), Trouble> {
        if entries <= self.entries {
            return Ok(());
        }
        Err(Trouble::too_large(format!("more than {} files and directories", self.entries)))
    }
    pub fn check_size(&self, unpacked_bytes: u64, packed_bytes: u64) -> Result<(), Trouble> {
        if unpacked_bytes > self.unpacked_bytes {
            return Err(Trouble::too_large(format!(
                "unpacks to more than {} MiB",
                self.unpacked_bytes >> 20
            )));
        }
        if unpacked_bytes > Limits::RATIO_FROM_BYTES && unpacked_bytes / packed_bytes.max(1) > self.ratio {
            return Err(Trouble::bad_archive(format!(
                "unpacks to more than {} times its size: looks like a decompression bomb",
                self.ratio
            )));
        }
        Ok(())
    }
}
