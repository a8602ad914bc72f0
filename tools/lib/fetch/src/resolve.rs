//! Host names to addresses, remembered for a while: ureq asks for every request, also where a connection is open.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// An address may be given to somebody else; a minute is what servers that move promise to wait.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Resolves as the system does, but each host once a minute, and numeric addresses without asking.
#[derive(Default)]
pub(crate) struct CachedNames {
    system: DefaultResolver,
    known: Mutex<HashMap<String, (Instant, Vec<SocketAddr>)>>,
}

impl Resolver for CachedNames {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return self.system.resolve(uri, config, timeout);
        };
        let Some(name) = DefaultResolver::host_and_port(scheme, authority) else {
            return self.system.resolve(uri, config, timeout);
        };
        if let Ok(address) = name.parse::<SocketAddr>() {
            return Ok(self.addresses(&[address]));
        }
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, found)) = known().get(&name)
            && since.elapsed() < REMEMBERED
        {
            return Ok(self.addresses(found));
        }
        let found = self.system.resolve(uri, config, timeout)?;
        known().insert(name, (Instant::now(), found.iter().copied().collect()));
        Ok(found)
    }
}

impl CachedNames {
    fn addresses(&self, found: &[SocketAddr]) -> ResolvedSocketAddrs {
        let mut addresses = self.system.empty();
        for address in found {
            addresses.push(*address);
        }
        addresses
    }
}

impl std::fmt::Debug for CachedNames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CachedNames")
    }
}
