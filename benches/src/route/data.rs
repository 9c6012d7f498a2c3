//! The network and the questions, out of the shared data.
use std::path::PathBuf;
use std::process::Command;

use bitcoin::hex::FromHex;
use lightning_traits::id::{NodeId, ShortChannelId};

/// The terms of one direction.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Millisatoshis.
    pub minimum: u64,
    /// Millisatoshis; not above the capacity.
    pub maximum: u64,
    /// Millisatoshis.
    pub base: u32,
    /// Of the amount.
    pub millionths: u32,
    /// Blocks.
    pub delta: u16,
}

/// A channel; directions that nobody may use have no terms.
#[derive(Clone, Copy, Debug)]
pub struct Channel {
    /// Made up, but unique.
    pub scid: ShortChannelId,
    /// Indices of its nodes, in the order of their keys.
    pub nodes: [usize; 2],
    /// What it holds.
    pub capacity_sat: u64,
    /// From the first node, from the second.
    pub directions: [Option<Terms>; 2],
}

/// One question, and what the topology alone allows.
#[derive(Clone, Debug)]
pub struct Question {
    /// Index of a node.
    pub payer: usize,
    /// Index of a node.
    pub payee: usize,
    /// What must arrive.
    pub amount_msat: u64,
    /// 0 small, 1 medium, 2 large.
    pub band: usize,
    /// The least fee of a single path, if one carries it.
    pub least_fee_msat: Option<u64>,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Network {
    /// Keys by index.
    pub nodes: Vec<NodeId>,
    /// All channels.
    pub channels: Vec<Channel>,
    /// A thousand questions.
    pub questions: Vec<Question>,
}

/// The shared data; `None`, and a line that says why, where it is not to be had.
#[must_use]
pub fn load() -> Option<Network> {
    let shared = std::env::var_os("LN_SHARED").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let mut folders = shared.into_iter().chain([beside]).map(|shared| shared.join("data"));
    let Some(data) = folders.find(|data| data.is_dir()) else {
        println!("SKIPPED: no shared data; set LN_SHARED to its folder");
        return None;
    };
    let nodes = unpacked(data.join("mainnet-nodes-2026-02.csv.xz"))?;
    let channels = unpacked(data.join("mainnet-graph-2026-02.csv.xz"))?;
    let questions = std::fs::read_to_string(data.join("queries.csv")).unwrap();
    let bounds = std::fs::read_to_string(data.join("queries-bounds.csv")).unwrap();
    Some(Network {
        nodes: rows(&nodes).map(|row| NodeId(<[u8; 33]>::from_hex(row[1]).unwrap())).collect(),
        channels: rows(&channels).map(|row| channel(&row)).collect(),
        questions: rows(&questions).zip(rows(&bounds)).map(|(row, bound)| question(&row, &bound)).collect(),
    })
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

fn channel(row: &[&str]) -> Channel {
    let number = |at: usize| row[at].parse::<u64>().unwrap();
    let id: Vec<u32> = row[0].split('x').map(|part| part.parse().unwrap()).collect();
    let capacity_sat = number(3);
    let direction = |at: usize| {
        (number(at) == 1 && number(at + 1) == 1).then(|| Terms {
            minimum: number(at + 2),
            // An update may promise more than there is.
            maximum: number(at + 3).min(capacity_sat * 1_000),
            base: number(at + 4).try_into().unwrap(),
            millionths: number(at + 5).try_into().unwrap(),
            delta: number(at + 6).try_into().unwrap(),
        })
    };
    Channel {
        scid: ShortChannelId::new(id[0], id[1], id[2].try_into().unwrap()).unwrap(),
        nodes: [number(1) as usize, number(2) as usize],
        capacity_sat,
        directions: [direction(4), direction(11)],
    }
}

fn question(row: &[&str], bound: &[&str]) -> Question {
    let number = |at: usize| row[at].parse::<u64>().unwrap();
    let band = ["small", "medium", "large"].iter().position(|band| *band == bound[1]).unwrap();
    Question {
        payer: number(0) as usize,
        payee: number(1) as usize,
        amount_msat: number(2),
        band,
        least_fee_msat: bound[7].parse().ok(),
    }
}
