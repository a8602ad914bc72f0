//! Which proxy, if any, stands between us and a host: the environment decides.

use crate::url::Url;

/// Proxy settings as read from the environment, with Racket's `plt_…` names before the usual ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Proxies {
    pub http: Option<String>,
    pub https: Option<String>,
    no_proxy: Vec<String>,
}

impl Proxies {
    pub fn from_environment() -> Proxies {
        Proxies::read(|name| std::env::var(name).ok())
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Proxies {
        let first = |names: &[&str]| {
            names.iter().find_map(|name| variable(name).filter(|value| !value.trim().is_empty()))
        };
        let all = first(&["all_proxy", "ALL_PROXY"]);
        Proxies {
            http: first(&["plt_http_proxy", "http_proxy", "HTTP_PROXY"]).or_else(|| all.clone()),
            https: first(&["plt_https_proxy", "https_proxy", "HTTPS_PROXY"]).or(all),
            no_proxy: first(&["plt_no_proxy", "no_proxy", "NO_PROXY"])
                .map(|list| {
                    list.split([',', ' '])
                        .map(|entry| entry.trim().to_ascii_lowercase())
                        .filter(|entry| !entry.is_empty())
                        .collect()
                })
                .unwrap_or_default(),
        }
    }

    /// The proxy to use for a URL. Hosts that `no_proxy` names (exactly, or as a domain with or without leading dot
    /// or `*.`) and this very machine are asked directly.
    pub fn choose(&self, url: &Url) -> Option<&str> {
        let proxy = if url.scheme == "https" { &self.https } else { &self.http };
        let host = url.host.as_str();
        if host == "localhost" || host == "[::1]" || host.starts_with("127.") || self.is_exempt(url) {
            return None;
        }
        proxy.as_deref()
    }

    fn is_exempt(&self, url: &Url) -> bool {
        self.no_proxy.iter().any(|entry| {
            let entry = entry.strip_prefix('*').unwrap_or(entry);
            if entry.is_empty() || entry == url.authority() {
                return true;
            }
            let domain = entry.strip_prefix('.').unwrap_or(entry);
            url.host == domain || url.host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
        })
    }
}

/// The proxy, when it takes requests for this URL as they are: an HTTP proxy for plain http.
pub(crate) fn forwards(proxy: &str, url: &Url) -> Option<Url> {
    let full = if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
    Url::parse(&full).ok().filter(|proxy| proxy.scheme == "http" && url.scheme == "http")
}

/// The proxy without user name and password, for messages.
pub(crate) fn shown(proxy: &str) -> String {
    match Url::parse(proxy) {
        Ok(url) => {
            format!("{}://{}", url.scheme, url.port.map_or(url.host.clone(), |p| format!("{}:{p}", url.host)))
        }
        Err(_) => proxy.rsplit('@').next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(pairs: &[(&str, &str)]) -> Proxies {
        let pairs: Vec<(String, String)> =
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Proxies::read(move |name| pairs.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()))
    }

    #[test]
    fn the_environment_decides() {
        let url = |text: &str| Url::parse(text).unwrap();
        let set = proxies(&[("http_proxy", "http://p:3128"), ("no_proxy", "example.org, .corp,h:8080")]);
        assert_eq!(set.choose(&url("http://a.test/")), Some("http://p:3128"));
        assert_eq!(set.choose(&url("https://a.test/")), None);
        for direct in [
            "http://example.org/",
            "http://www.example.org/",
            "http://x.corp/",
            "http://h:8080/",
            "http://127.0.0.1/",
        ] {
            assert_eq!(set.choose(&url(direct)), None, "{direct}");
        }
        assert!(set.choose(&url("http://badexample.org/")).is_some());
        assert!(set.choose(&url("http://h/")).is_some());
        let set = proxies(&[
            ("ALL_PROXY", "socks5://p"),
            ("plt_http_proxy", "http://q"),
            ("http_proxy", "http://r"),
        ]);
        assert_eq!(set.choose(&url("https://a.test/")), Some("socks5://p"));
        assert_eq!(set.choose(&url("http://a.test/")), Some("http://q"));
        assert_eq!(proxies(&[("http_proxy", "http://p"), ("no_proxy", "*")]).choose(&url("http://a/")), None);
        assert_eq!(shown("http://me:pw@p:3128/"), "http://p:3128");
    }
}
