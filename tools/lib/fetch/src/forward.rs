//! Plain `http` through an HTTP proxy: the proxy is asked with the whole URL in the request line, RFC 9112 section
//! 3.2.2. (ureq tunnels everything with CONNECT, which many proxies allow for TLS only.)

use crate::resolve::CachedNames;
use crate::url::{Url, percent_decode};
use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, NextTimeout, TcpConnector, Transport,
};

const METHOD: &[u8] = b"GET ";

/// An agent whose connections all go to the proxy. `config` must name no proxy of its own.
pub(crate) fn agent(config: Config, proxy: &Url) -> Result<Agent, String> {
    let uri: Uri = format!("http://{}/", proxy.authority()).parse().map_err(|error| format!("{error}"))?;
    let connector = ().chain(TcpConnector::default()).chain(WholeUrlConnector);
    Ok(Agent::with_parts(config, connector, ProxyResolver { proxy: uri, inner: CachedNames::default() }))
}

/// The header that says who we are, for a proxy with a user name in its URL.
pub(crate) fn authorization(proxy: &Url) -> Option<String> {
    let user_info = proxy.user_info.as_ref()?;
    Some(format!("Basic {}", crate::exchange::base64(&percent_decode(user_info))))
}

/// Whatever host is asked for, the address is that of the proxy.
#[derive(Debug)]
struct ProxyResolver {
    proxy: Uri,
    inner: CachedNames,
}

impl Resolver for ProxyResolver {
    fn resolve(
        &self,
        _uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        self.inner.resolve(&self.proxy, config, timeout)
    }
}

#[derive(Debug)]
struct WholeUrlConnector;

impl<In: Transport> Connector<In> for WholeUrlConnector {
    type Out = WholeUrlTransport<In>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<WholeUrlTransport<In>>, ureq::Error> {
        // a connection is used for one host only: the pool sees to that
        let authority = details.uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        let origin = format!("http://{authority}").into_bytes();
        Ok(chained.map(|inner| WholeUrlTransport { inner, origin }))
    }
}

/// Puts the origin in front of the path of each request that goes out.
#[derive(Debug)]
struct WholeUrlTransport<In> {
    inner: In,
    origin: Vec<u8>,
}

impl<In: Transport> Transport for WholeUrlTransport<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let buffer = self.inner.buffers().output();
        // only heads go out (there are no request bodies), each in one piece: they are much smaller than the buffer
        if !buffer[..amount].starts_with(b"GET /") {
            return self.inner.transmit_output(amount, timeout);
        }
        let head = [METHOD, &self.origin, &buffer[METHOD.len()..amount]].concat();
        let room = buffer.len();
        for piece in head.chunks(room) {
            self.inner.buffers().output()[..piece.len()].copy_from_slice(piece);
            self.inner.transmit_output(piece.len(), timeout)?;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }
}
