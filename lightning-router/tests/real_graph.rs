//! The main network of February 2026: a thousand payments, each answer held against the rules and against the
//! least fee that another program found.
//!
//! Needs the shared data and the `xz` program; says so visibly when either is absent.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unreachable,
    clippy::disallowed_methods,
    reason = "tests"
)]
mod support;

use std::path::PathBuf;
use std::process::Command;

use bitcoin::Amount;
use bitcoin::hex::FromHex;
use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::interface::RouteFinder;
use lightning_traits::route::{NoRoute, RouteAnswer};
use lightning_traits::units::Msat;
use support::model::{Edge, Model, Price};
use support::query;
use support::unsigned::{self, Channel};

fn data() -> Option<PathBuf> {
    let shared = std::env::var_os("LN_SHARED").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let found =
        shared.into_iter().chain([beside]).map(|shared| shared.join("data")).find(|data| data.is_dir());
    if found.is_none() {
        println!("SKIPPED: no shared data; set LN_SHARED to its folder");
    }
    found
}

fn unpacked(path: PathBuf) -> Option<String> {
    let Ok(output) = Command::new("xz").args(["--decompress", "--stdout"]).arg(&path).output() else {
        println!("SKIPPED: there is no xz program to unpack {}", path.display());
        return None;
    };
    assert!(output.status.success(), "xz cannot unpack {}", path.display());
    Some(String::from_utf8(output.stdout).unwrap())
}

fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().skip(1).map(|line| line.split(',').collect())
}

fn nodes(text: &str) -> Vec<NodeId> {
    rows(text).map(|row| NodeId(<[u8; 33]>::from_hex(row[1]).unwrap())).collect()
}

fn channels(text: &str, nodes: &[NodeId]) -> Vec<Channel> {
    rows(text).map(|row| channel(&row, nodes)).collect()
}

fn channel(row: &[&str], nodes: &[NodeId]) -> Channel {
    let number = |at: usize| row[at].parse::<u64>().unwrap();
    let id: Vec<u32> = row[0].split('x').map(|part| part.parse().unwrap()).collect();
    let scid = ShortChannelId::new(id[0], id[1], id[2] as u16).unwrap();
    let ends = [nodes[number(1) as usize], nodes[number(2) as usize]];
    let capacity = Amount::from_sat(number(3));
    let direction = |at: usize, from: NodeId, to: NodeId| {
        (number(at) == 1).then(|| {
            let edge = Edge {
                scid,
                from,
                to,
                minimum: number(at + 2),
                // An update may promise more than there is.
                maximum: number(at + 3).min(Msat::from_amount(capacity).to_msat()),
                capacity: Msat::from_amount(capacity).to_msat(),
                base: number(at + 4),
                millionths: number(at + 5),
                delta: number(at + 6) as u32,
            };
            (edge, number(at + 1) == 0)
        })
    };
    let directions = [direction(4, ends[0], ends[1]), direction(11, ends[1], ends[0])];
    Channel { scid, nodes: ends, capacity: Some(capacity), directions }
}

#[test]
fn a_thousand_payments_over_the_main_network() {
    let Some(data) = data() else { return };
    let Some(graph) = unpacked(data.join("mainnet-graph-2026-02.csv.xz")) else { return };
    let Some(names) = unpacked(data.join("mainnet-nodes-2026-02.csv.xz")) else { return };
    let nodes = nodes(&names);
    let channels = channels(&graph, &nodes);
    assert_eq!((nodes.len(), channels.len()), (17_324, 50_808));
    let router = unsigned::router(nodes[0], &channels);
    let counts = router.counts();
    assert_eq!((counts.nodes, counts.channels, counts.policies), (17_324, 50_808, 65_810));
    let edges = channels.iter().flat_map(|channel| channel.directions.iter().flatten());
    let model = Model::new(edges.map(|(edge, _)| edge.clone()));

    let queries = std::fs::read_to_string(data.join("queries.csv")).unwrap();
    let bounds = std::fs::read_to_string(data.join("queries-bounds.csv")).unwrap();
    let (mut paid, mut refused, mut long) = (0, 0, 0);
    let (mut possible, mut divided) = (0, 0);
    for (row, bound) in rows(&queries).zip(rows(&bounds)) {
        let number = |at: usize| row[at].parse::<u64>().unwrap();
        let mut query = query("", "", number(2));
        (query.payer, query.payee) = (nodes[number(0) as usize], nodes[number(1) as usize]);
        query.max_total_cltv = u32::MAX;
        let least: i64 = bound[7].parse().unwrap();
        match router.find_route(query.clone()) {
            RouteAnswer::Ready(Ok(route)) => {
                let [path] = &route.paths[..] else { panic!("one path") };
                let Price { fee, hops, .. } = model.check(&query, path).unwrap();
                assert_eq!(i64::try_from(fee), Ok(least), "query {} by {hops} hops", bound[0]);
                paid += 1;
                long += usize::from(hops > 10);
                if paid % 25 == 0 {
                    in_limits(&router, &model, query, fee);
                }
            }
            RouteAnswer::Ready(Err(why)) => {
                assert_eq!(least, -1, "query {}: {why}", bound[0]);
                assert_eq!(why, NoRoute::NoCapacity { amount: query.amount });
                refused += 1;
                if refused % 4 == 0 {
                    let flow: u64 = bound[6].parse().unwrap();
                    let found = in_parts(&router, &model, query.clone());
                    assert!(!found || query.amount <= Msat::from_sat(flow), "more than the network carries");
                    possible += usize::from(query.amount <= Msat::from_sat(flow));
                    divided += usize::from(found);
                }
            }
            RouteAnswer::InProgress => panic!("the router answers at once"),
        }
    }
    println!("{paid} paths, {long} of more than ten hops; {refused} amounts that no single path carries");
    println!("{divided} in parts, of {possible} that a flow without fees and of any number of parts carries");
    assert_eq!((paid, refused), (778, 222));
    assert_eq!((divided, possible), (52, 55));
}

/// Whether up to 16 paths carry it together; if they say so, they do.
fn in_parts(
    router: &lightning_router::Router,
    model: &Model,
    query: lightning_traits::route::RouteQuery,
) -> bool {
    let query = lightning_traits::route::RouteQuery { max_parts: 16, ..query };
    match router.find_route(query.clone()) {
        RouteAnswer::Ready(Ok(route)) => model.check_route(&query, &route).unwrap().len() > 1,
        RouteAnswer::Ready(Err(_)) => false,
        RouteAnswer::InProgress => panic!("the router answers at once"),
    }
}

/// The least fee is also found, or refused, when it is the limit; and the usual limit of lock time is kept.
fn in_limits(
    router: &lightning_router::Router,
    model: &Model,
    query: lightning_traits::route::RouteQuery,
    fee: u64,
) {
    let mut tight =
        lightning_traits::route::RouteQuery { max_fee: Msat::new(fee), max_total_cltv: 1_008, ..query };
    if let RouteAnswer::Ready(Ok(route)) = router.find_route(tight.clone()) {
        let price = model.check(&tight, &route.paths[0]).unwrap();
        assert!(price.delay <= 1_008);
    }
    let Some(less) = fee.checked_sub(1) else { return };
    tight.max_fee = Msat::new(less);
    tight.max_total_cltv = u32::MAX;
    let too_expensive = NoRoute::TooExpensive { fee: Msat::new(fee), limit: Msat::new(less) };
    assert_eq!(router.find_route(tight), RouteAnswer::Ready(Err(too_expensive)));
}
