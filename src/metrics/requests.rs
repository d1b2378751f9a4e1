//! HTTP requests by route and status: a table of counters, so that no request waits for another to be counted.

use std::sync::atomic::{AtomicU64, Ordering};

use hyper::StatusCode;

/// The statuses that are answered here. Any other is counted under the last, which is none.
const STATUSES: [u16; 17] = [
    101, 200, 202, 204, 400, 401, 403, 404, 405, 408, 413, 426, 429, 500, 502, 503, 0,
];

#[derive(Debug)]
pub(super) struct Requests {
    routes: &'static [&'static str],
    /// By route, then by status.
    counts: Vec<[AtomicU64; STATUSES.len()]>,
}

impl Requests {
    pub(super) fn new(routes: &'static [&'static str]) -> Requests {
        Requests {
            routes,
            counts: routes.iter().map(|_| Default::default()).collect(),
        }
    }

    /// `route` is an index into the labels; one that is none is not counted.
    pub(super) fn answered(&self, route: usize, status: StatusCode) {
        let place = STATUSES
            .iter()
            .position(|known| *known == status.as_u16())
            .unwrap_or(STATUSES.len() - 1);
        if let Some(counts) = self.counts.get(route) {
            counts[place].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Route, status and count of what has been answered so far.
    pub(super) fn counted(&self) -> impl Iterator<Item = (&'static str, String, u64)> {
        let routes = self.routes.iter().zip(&self.counts);
        routes.flat_map(|(route, counts)| {
            STATUSES.iter().zip(counts).filter_map(|(status, count)| {
                let count = count.load(Ordering::Relaxed);
                let status = match status {
                    0 => "other".to_owned(),
                    status => status.to_string(),
                };
                (count > 0).then_some((*route, status, count))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_route_and_status_and_nothing_is_lost() {
        let requests = Requests::new(&["/a", "/b"]);
        for status in [200, 200, 404, 418] {
            requests.answered(1, StatusCode::from_u16(status).unwrap());
        }
        let counted: Vec<_> = requests.counted().collect();
        let row = |status: &str, count| ("/b", status.to_owned(), count);
        assert_eq!(counted, [row("200", 2), row("404", 1), row("other", 1)]);
    }
}
