//! Whom to trust: `SSL_CERT_FILE`, else the system's certificate bundle, else the authorities built in.

use std::path::Path;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// Where the distributions keep their bundle.
const SYSTEM_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];

pub(crate) fn config(verify: bool) -> TlsConfig {
    let builder = TlsConfig::builder();
    if !verify {
        return builder.disable_verification(true).build();
    }
    let named = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty());
    let certificates = match &named {
        Some(path) => Some(read_bundle(Path::new(path))),
        None => {
            SYSTEM_BUNDLES.iter().map(|path| read_bundle(Path::new(path))).find(|found| !found.is_empty())
        }
    };
    match certificates.filter(|found| !found.is_empty()) {
        Some(certificates) => builder.root_certs(RootCerts::new_with_certs(&certificates)).build(),
        None => builder.root_certs(RootCerts::WebPki).build(),
    }
}

/// The certificates of a PEM file; empty when it cannot be read.
fn read_bundle(path: &Path) -> Vec<Certificate<'static>> {
    let Ok(pem) = std::fs::read(path) else { return Vec::new() };
    parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect()
}
