//! The client's address of a request, also behind proxies.
//!
//! Any client can write `X-Forwarded-For`. Only its end, written by trusted proxies, can be trusted: hops are
//! read from the right, as long as each was written by a trusted one.

use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::http::header::{FORWARDED, HeaderMap, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address: `peer`, or, where `peer` is a trusted proxy, the nearest hop that is not one. Where all
/// hops are trusted it is the farthest. Where a hop cannot be read (`unknown`, an obfuscated name, nonsense) it
/// is the last one before it. IPv4-mapped IPv6 addresses are returned as IPv4.
///
/// Hops are read from `Forwarded` (RFC 7239) or `X-Forwarded-For`. A proxy writes one of them and passes the
/// other on as the client sent it, and which one is not known: where both are present they must agree, otherwise
/// the result is `peer`.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let walk = |header: HeaderName, read: fn(&str) -> Option<IpAddr>| {
        headers.contains_key(&header).then(|| nearest_untrusted(peer, headers, header, read, trusted))
    };
    match (walk(FORWARDED, forwarded_for), walk(X_FORWARDED_FOR, node_address)) {
        (Some(one), Some(other)) if one != other => peer,
        (Some(address), _) | (None, Some(address)) => address,
        (None, None) => peer,
    }
}

/// What limits count: an address of IPv4, and of IPv6 the /64 that it is in. A provider gives a customer at least
/// a /64, within which a single machine takes as many addresses as it likes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Network(IpAddr);

impl Network {
    /// The network of an address. An IPv4-mapped address counts as the IPv4 address in it.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
            address => Self(address),
        }
    }
}

/// The network of an address, the only part of it that is stored: /24 of IPv4, /48 of IPv6.
pub fn masked(address: IpAddr) -> IpNet {
    let address = address.to_canonical();
    let bits = if address.is_ipv4() { 24 } else { 48 };
    IpNet::new_assert(address, bits).trunc()
}

/// Whether an address, which must be canonical, is in one of these networks. These are canonical too, see
/// [`canonical`].
pub fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// The same network; as one of IPv4 where it is written as IPv4-mapped IPv6 (`::ffff:10.0.0.0/104`).
pub fn canonical(network: IpNet) -> IpNet {
    const MAPPED_BITS: u8 = 96;
    match (network.network().to_canonical(), network.prefix_len()) {
        (IpAddr::V4(address), bits @ MAPPED_BITS..) if matches!(network, IpNet::V6(_)) => {
            IpNet::new_assert(address.into(), bits - MAPPED_BITS)
        }
        _ => network,
    }
}

/// Walks the hops in the lines of one header, the last written first.
fn nearest_untrusted(
    peer: IpAddr,
    headers: &HeaderMap,
    header: HeaderName,
    read: fn(&str) -> Option<IpAddr>,
    trusted: &[IpNet],
) -> IpAddr {
    let mut nearest = peer;
    for line in headers.get_all(header).iter().rev() {
        // Bytes that are no UTF-8 spoil their own hop, and none written after it.
        let line = String::from_utf8_lossy(line.as_bytes());
        for hop in split_from_right(&line, b',').filter(|hop| !hop.is_empty()) {
            let Some(address) = read(hop) else {
                return nearest;
            };
            nearest = address.to_canonical();
            if !is_trusted(nearest, trusted) {
                return nearest;
            }
        }
    }
    nearest
}

/// The parts between unquoted separators, trimmed, from the right: read from the left, a quote that a client
/// left open would swallow what the proxies wrote after it.
fn split_from_right(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    iter::from_fn(move || {
        let text = rest?;
        let bytes = text.as_bytes();
        let is_escaped = |at: usize| bytes[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1;
        let mut quoted = false;
        let split = (0..bytes.len()).rev().find(|&at| {
            quoted ^= bytes[at] == b'"' && !is_escaped(at);
            !quoted && bytes[at] == separator
        });
        let part = match split {
            Some(at) => {
                rest = Some(&text[..at]);
                &text[at + 1..]
            }
            None => {
                rest = None;
                text
            }
        };
        Some(part.trim())
    })
}

/// The address of the `for` parameter of one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut nodes = split_from_right(element, b';').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value)
    });
    // RFC 7239, section 4: a parameter must not occur twice in one element.
    let (node, None) = (nodes.next()?, nodes.next()) else {
        return None;
    };
    node_address(node)
}

/// The address of a hop as proxies write it: with or without port, brackets and quotes.
fn node_address(node: &str) -> Option<IpAddr> {
    let node = node.trim();
    let node = node.strip_prefix('"').and_then(|node| node.strip_suffix('"')).unwrap_or(node);
    if let Some(bracketed) = node.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        return if port.is_empty() || port.starts_with(':') {
            address.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        } else {
            None
        };
    }
    // An IPv6 address contains colons itself: only after an IPv4 address can a colon begin a port.
    node.parse().ok().or_else(|| {
        let (address, _port) = node.split_once(':')?;
        address.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn trusted() -> Vec<IpNet> {
        ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap()).to_vec()
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap()))
            .collect()
    }

    fn address(peer: &str, lines: &[(&'static str, &str)]) -> String {
        client_address(peer.parse().unwrap(), &headers(lines), &trusted()).to_string()
    }

    #[test]
    fn a_peer_that_is_no_proxy_is_the_client_whatever_it_says() {
        let lies = [("x-forwarded-for", "203.0.113.1"), ("forwarded", "for=203.0.113.1")];
        for peer in ["192.0.2.9", "2001:db8::9", "11.0.0.1"] {
            assert_eq!(address(peer, &lies), peer);
        }
        let nobody_trusted = client_address(PROXY.parse().unwrap(), &headers(&lies), &[]);
        assert_eq!(nobody_trusted.to_string(), PROXY);
    }

    #[test]
    fn a_proxy_that_names_nobody_is_the_client() {
        assert_eq!(address(PROXY, &[]), PROXY);
        assert_eq!(address(PROXY, &[("x-forwarded-for", "")]), PROXY);
        assert_eq!(address(PROXY, &[("forwarded", "")]), PROXY);
    }

    #[test]
    fn x_forwarded_for() {
        for (line, expected) in [
            ("203.0.113.1", "203.0.113.1"),
            ("203.0.113.1, 10.9.9.9", "203.0.113.1"),
            ("6.6.6.6, 203.0.113.1", "203.0.113.1"),
            ("6.6.6.6, 203.0.113.1, 10.9.9.9, 10.8.8.8", "203.0.113.1"),
            ("10.7.7.7, 10.8.8.8", "10.7.7.7"),
            (" 203.0.113.1\t,, 10.8.8.8 ,", "203.0.113.1"),
            ("203.0.113.1:4711", "203.0.113.1"),
            ("2001:db8::17", "2001:db8::17"),
            ("[2001:db8::17]", "2001:db8::17"),
            ("[2001:db8::17]:443", "2001:db8::17"),
            ("\"[2001:db8::17]:443\"", "2001:db8::17"),
            ("203.0.113.1, fd00::5", "203.0.113.1"),
            ("::ffff:203.0.113.1", "203.0.113.1"),
            ("203.0.113.1, ::ffff:10.1.2.3", "203.0.113.1"),
            ("unknown", PROXY),
            ("203.0.113.1, unknown", PROXY),
            ("203.0.113.1, unknown, 10.8.8.8", "10.8.8.8"),
            ("203.0.113.1, 10.8.8.8:_port", "203.0.113.1"),
            ("203.0.113.1, [10.8.8.8]", PROXY),
            ("203.0.113.1, [fd00::1]x", PROXY),
            ("203.0.113.1, [fd00::1", PROXY),
            ("203.0.113.1, fe80::1%eth0", PROXY),
            ("203.0.113.1, 10.8.8", PROXY),
            ("203.0.113.1, é", PROXY),
            ("é, 203.0.113.1", "203.0.113.1"),
            ("\", 203.0.113.1", "203.0.113.1"),
        ] {
            assert_eq!(address(PROXY, &[("x-forwarded-for", line)]), expected, "{line:?}");
        }
    }

    #[test]
    fn forwarded() {
        for (line, expected) in [
            ("for=203.0.113.1", "203.0.113.1"),
            ("For=203.0.113.1;proto=https;by=10.0.0.1", "203.0.113.1"),
            ("proto=https ; FOR = \"203.0.113.1:4711\"", "203.0.113.1"),
            ("for=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=\"[2001:db8:cafe::17]:_port\"", "2001:db8:cafe::17"),
            ("for=6.6.6.6, for=203.0.113.1, for=10.8.8.8", "203.0.113.1"),
            ("for=10.7.7.7, for=10.8.8.8", "10.7.7.7"),
            ("for=203.0.113.1;host=\"a, for=6.6.6.6\"", "203.0.113.1"),
            ("for=203.0.113.1;host=\"a\\\", for=6.6.6.6\"", "203.0.113.1"),
            ("for=203.0.113.1;host=\"a\\\\\"", "203.0.113.1"),
            ("for=6.6.6.6;host=\"a, for=203.0.113.1", "203.0.113.1"),
            ("for=\"_hidden\", for=10.8.8.8", "10.8.8.8"),
            ("for=203.0.113.1, for=unknown", PROXY),
            ("for=203.0.113.1, for=_SEVKISEK", PROXY),
            ("for=203.0.113.1, proto=https", PROXY),
            ("for=203.0.113.1;for=10.8.8.8", PROXY),
            ("203.0.113.1", PROXY),
        ] {
            assert_eq!(address(PROXY, &[("forwarded", line)]), expected, "{line:?}");
        }
    }

    #[test]
    fn lines_of_one_header_are_one_list() {
        let lines = [("x-forwarded-for", "6.6.6.6, 203.0.113.1"), ("x-forwarded-for", "10.8.8.8")];
        assert_eq!(address(PROXY, &lines), "203.0.113.1");
        let open_quote = [("forwarded", "for=\"6.6.6.6"), ("forwarded", "for=203.0.113.1")];
        assert_eq!(address(PROXY, &open_quote), "203.0.113.1");
    }

    #[test]
    fn headers_that_contradict_each_other_are_not_believed() {
        let real = ("x-forwarded-for", "203.0.113.1");
        assert_eq!(address(PROXY, &[real, ("forwarded", "for=203.0.113.1;proto=https")]), "203.0.113.1");
        assert_eq!(address(PROXY, &[real, ("forwarded", "for=6.6.6.6")]), PROXY);
        assert_eq!(address(PROXY, &[real, ("forwarded", "for=unknown")]), PROXY);
    }

    #[test]
    fn of_an_address_the_network_is_kept() {
        for (address, network) in [
            ("203.0.113.77", "203.0.113.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
            ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ] {
            assert_eq!(masked(address.parse().unwrap()).to_string(), network);
        }
    }

    #[test]
    fn limits_count_an_ipv4_address_and_an_ipv6_network_of_64_bits() {
        let network = |text: &str| Network::of(text.parse().unwrap());
        for (one, other) in [
            ("192.0.2.1", "::ffff:192.0.2.1"),
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"),
            ("fe80::1", "fe80::2"),
        ] {
            assert_eq!(network(one), network(other), "{one} and {other}");
        }
        for (one, other) in [
            ("192.0.2.1", "192.0.2.2"),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2"),
            ("2001:db8:1:2::1", "2001:db8:1:3::1"),
            ("::1", "127.0.0.1"),
        ] {
            assert_ne!(network(one), network(other), "{one} and {other}");
        }
    }

    #[test]
    fn a_network_of_mapped_addresses_is_one_of_ipv4() {
        for (written, meant) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:192.0.2.1/128", "192.0.2.1/32"),
            ("::ffff:0.0.0.0/96", "0.0.0.0/0"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("fd00::/8", "fd00::/8"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(canonical(written.parse().unwrap()).to_string(), meant);
        }
    }

    #[test]
    fn ipv4_in_ipv6_clothes_is_ipv4() {
        assert_eq!(address("::ffff:192.0.2.9", &[]), "192.0.2.9");
        assert_eq!(address("::ffff:10.0.0.1", &[("x-forwarded-for", "203.0.113.1")]), "203.0.113.1");
    }

    proptest! {
        /// Whatever a client writes, it is what the trusted proxy appends that counts.
        #[test]
        fn a_client_cannot_talk_over_the_proxy(text in "[ -~é]{0,40}") {
            let x_forwarded_for = format!("{text}, 203.0.113.1");
            prop_assert_eq!(address(PROXY, &[("x-forwarded-for", &x_forwarded_for)]), "203.0.113.1");
            let forwarded = format!("{text}, for=203.0.113.1;proto=https");
            prop_assert_eq!(address(PROXY, &[("forwarded", &forwarded)]), "203.0.113.1");
        }
    }
}
