//! Who the client is behind proxies: `X-Forwarded-For` is believed as far as each hop that wrote it is in
//! `server.trusted_proxies`, from right to left, since anyone can write the left end.

use std::net::IpAddr;

use hyper::header::HeaderMap;
use ipnet::IpNet;

/// The first address, seen from here, that is no trusted proxy.
pub(super) fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer.to_canonical();
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let hops = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.rsplit(','));
    for hop in hops {
        if !trusted.iter().any(|network| network.contains(&client)) {
            break;
        }
        match address(hop.trim()) {
            Some(address) => client = address,
            None => break,
        }
    }
    client
}

/// An address with or without a port: `203.0.113.7`, `203.0.113.7:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn address(hop: &str) -> Option<IpAddr> {
    let address = hop.parse().or_else(|_| {
        hop.parse()
            .map(|with_port: std::net::SocketAddr| with_port.ip())
    });
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, lines: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        client(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn nobody_is_believed_by_default() {
        assert_eq!(seen("10.0.0.1", &["203.0.113.7"], &[]), "10.0.0.1");
    }

    #[test]
    fn a_trusted_proxy_names_its_client() {
        assert_eq!(
            seen("10.0.0.1", &["203.0.113.7"], &["10.0.0.0/8"]),
            "203.0.113.7"
        );
        assert_eq!(
            seen("::ffff:10.0.0.1", &["203.0.113.7:99"], &["10.0.0.0/8"]),
            "203.0.113.7"
        );
        assert_eq!(
            seen("10.0.0.1", &["[2001:db8::1]:80"], &["10.0.0.0/8"]),
            "2001:db8::1"
        );
    }

    #[test]
    fn what_the_client_wrote_itself_is_not_believed() {
        let forged = ["1.1.1.1, 203.0.113.7"];
        assert_eq!(seen("10.0.0.1", &forged, &["10.0.0.0/8"]), "203.0.113.7");
    }

    #[test]
    fn a_chain_of_trusted_proxies_is_walked() {
        let chain = ["1.1.1.1, 203.0.113.7", "10.0.0.2"];
        assert_eq!(seen("10.0.0.1", &chain, &["10.0.0.0/8"]), "203.0.113.7");
    }

    #[test]
    fn nonsense_ends_the_walk() {
        assert_eq!(seen("10.0.0.1", &["unknown"], &["10.0.0.0/8"]), "10.0.0.1");
    }
}
