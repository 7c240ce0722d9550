//! Headers of proxies and of clients: no panic, never a mapped address, and where the peer is no proxy, nothing but
//! the peer.
#![no_main]

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use lastseen::identity::client_address::{client_address, masked};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: ([u8; 16], bool, Vec<(bool, Vec<u8>)>)| {
    let (peer, is_short, lines) = input;
    let peer = match is_short {
        true => IpAddr::from([peer[0], peer[1], peer[2], peer[3]]),
        false => IpAddr::from(peer),
    };
    let trusted: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().expect("a network")).to_vec();
    let mut headers = HeaderMap::new();
    for (forwarded, line) in lines {
        let name = HeaderName::from_static(if forwarded { "forwarded" } else { "x-forwarded-for" });
        // What is no value of a header never reaches the server.
        if let Ok(line) = HeaderValue::from_bytes(&line) {
            headers.append(name, line);
        }
    }
    let address = client_address(peer, &headers, &trusted);
    assert_eq!(address, address.to_canonical());
    assert!(masked(address).contains(&address));
    if !trusted.iter().any(|network| network.contains(&peer.to_canonical())) {
        assert_eq!(address, peer.to_canonical());
    }
});
