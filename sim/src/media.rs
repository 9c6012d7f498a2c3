//! Files below a disk: what an operating system keeps in memory, what is on the platter, and what a power cut leaves.
//!
//! Writes, flushes, names and the flush of names are apart. Until a file is flushed, each of its sectors of 512 bytes that was
//! written may be on the platter or not, one without the other, in any order; a flush that failed forgets which sectors it
//! should have written, as real systems do: memory shows them, the platter never has them.
//!
//! # Invariants
//! - a sector is whole; what was flushed without an error is on the platter
//! - names of files change all at once, or not at all, until the folder is flushed
use std::collections::{BTreeMap, BTreeSet};

use crate::dice::Dice;

const SECTOR: usize = 512;

/// Why something was not done, or only in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MediaError {
    /// ENOSPC.
    NoRoom,
    /// EIO.
    Io,
}

/// What is wrong with the device for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No room: writes stop in their middle.
    NoRoom,
    /// Writes fail, in their middle.
    Write,
    /// Flushes fail.
    Flush,
}

#[derive(Clone, Debug, Default)]
struct File {
    platter: Vec<u8>,
    memory: Vec<u8>,
    /// Sectors that memory has and the platter may not have.
    dirty: BTreeSet<usize>,
}

impl File {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.memory.len() < end {
            self.memory.resize(end, 0);
        }
        self.memory[offset..end].copy_from_slice(bytes);
        self.dirty.extend(offset / SECTOR..end.div_ceil(SECTOR));
    }

    /// A sector reaches the platter.
    fn put_down(&mut self, sector: usize) {
        let (start, end) = (sector * SECTOR, ((sector + 1) * SECTOR).min(self.memory.len()));
        if start >= end {
            return;
        }
        if self.platter.len() < end {
            self.platter.resize(end, 0);
        }
        self.platter[start..end].copy_from_slice(&self.memory[start..end]);
    }

    fn cut(&mut self, dice: &mut Dice) {
        let (mode, known) = (dice.roll(4), self.dirty.len());
        let first = dice.pick(known + 1);
        for (at, sector) in core::mem::take(&mut self.dirty).into_iter().enumerate() {
            let is_there = match mode {
                0 => at < first,
                1 => at >= first,
                _ => dice.once_in(2),
            };
            if is_there {
                self.put_down(sector);
            }
        }
        if dice.once_in(4) && self.platter.len() < self.memory.len() {
            // The length got there, and what should stand in between did not.
            self.platter.resize(self.memory.len(), 0);
        }
        self.memory.clone_from(&self.platter);
    }
}

/// All files of one machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Media {
    files: BTreeMap<u64, File>,
    names: BTreeMap<&'static str, u64>,
    names_on_platter: BTreeMap<&'static str, u64>,
    made: u64,
    pub(crate) fault: Option<Fault>,
}

impl Media {
    /// A new, empty file takes this name.
    pub(crate) fn create(&mut self, name: &'static str) {
        self.made += 1;
        self.files.insert(self.made, File::default());
        self.names.insert(name, self.made);
    }

    fn file(&mut self, name: &str) -> Result<&mut File, MediaError> {
        let number = self.names.get(name).ok_or(MediaError::Io)?;
        self.files.get_mut(number).ok_or(MediaError::Io)
    }

    /// All bytes of a file, as memory has them.
    pub(crate) fn read(&self, name: &str) -> Option<&[u8]> {
        let file = self.files.get(self.names.get(name)?)?;
        Some(&file.memory)
    }

    pub(crate) fn write(&mut self, name: &str, offset: usize, bytes: &[u8]) -> Result<(), MediaError> {
        let error = match self.fault {
            Some(Fault::NoRoom) => Some(MediaError::NoRoom),
            Some(Fault::Write) => Some(MediaError::Io),
            Some(Fault::Flush) | None => None,
        };
        let count = if error.is_some() { bytes.len() / 2 } else { bytes.len() };
        self.file(name)?.write(offset, &bytes[..count]);
        error.map_or(Ok(()), Err)
    }

    /// Makes a file durable (fsync). After an error, some of it is, and nobody will ever know what.
    pub(crate) fn flush(&mut self, name: &str) -> Result<(), MediaError> {
        let fails = self.fault == Some(Fault::Flush);
        let file = self.file(name)?;
        for sector in core::mem::take(&mut file.dirty) {
            if !fails || sector % 2 == 0 {
                file.put_down(sector);
            }
        }
        if fails { Err(MediaError::Io) } else { Ok(()) }
    }

    /// A file takes the name of another.
    pub(crate) fn rename(&mut self, from: &str, to: &'static str) {
        if let Some(number) = self.names.remove(from) {
            self.names.insert(to, number);
        }
    }

    /// Makes the names durable.
    pub(crate) fn flush_names(&mut self) -> Result<(), MediaError> {
        if self.fault == Some(Fault::Flush) {
            return Err(MediaError::Io);
        }
        self.names_on_platter.clone_from(&self.names);
        let names = &self.names;
        self.files.retain(|number, _| names.values().any(|named| named == number));
        Ok(())
    }

    /// The power fails, and comes back.
    pub(crate) fn cut(&mut self, dice: &mut Dice) {
        if dice.once_in(2) {
            self.names.clone_from(&self.names_on_platter);
        } else {
            self.names_on_platter.clone_from(&self.names);
        }
        self.files.values_mut().for_each(|file| file.cut(dice));
        let names = &self.names;
        self.files.retain(|number, _| names.values().any(|named| named == number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media(bytes: &[u8]) -> Media {
        let mut media = Media::default();
        media.create("a");
        media.write("a", 0, bytes).unwrap();
        media
    }

    #[test]
    fn what_was_flushed_stays() {
        for seed in 0..50 {
            let mut media = media(&[7; 3_000]);
            media.flush("a").unwrap();
            media.flush_names().unwrap();
            media.cut(&mut Dice::new(seed));
            assert_eq!(media.read("a"), Some(&[7; 3_000][..]));
        }
    }

    #[test]
    fn what_was_not_flushed_may_be_there_in_any_part() {
        let mut seen = BTreeSet::new();
        for seed in 0..200 {
            let mut media = media(&[7; 1_024]);
            media.flush_names().unwrap();
            media.cut(&mut Dice::new(seed));
            let mut bytes = media.read("a").unwrap().to_vec();
            bytes.resize(1_024, 0);
            seen.insert((bytes[0], bytes[511], bytes[512], bytes[1_023]));
        }
        // Sectors are whole: none, the first, the second alone, both.
        assert_eq!(seen, BTreeSet::from([(0, 0, 0, 0), (7, 7, 0, 0), (0, 0, 7, 7), (7, 7, 7, 7)]));
    }

    #[test]
    fn a_failed_flush_is_not_made_good_by_the_next() {
        let mut media = media(&[7; 2_048]);
        media.flush_names().unwrap();
        media.fault = Some(Fault::Flush);
        assert_eq!(media.flush("a"), Err(MediaError::Io));
        media.fault = None;
        assert_eq!(media.flush("a"), Ok(()));
        assert_eq!(media.read("a"), Some(&[7; 2_048][..]), "memory shows it");
        media.cut(&mut Dice::new(1));
        assert_ne!(media.read("a"), Some(&[7; 2_048][..]), "and the platter has lost it");
    }

    #[test]
    fn names_move_when_the_folder_is_flushed() {
        let names: BTreeSet<_> = (0..20)
            .map(|seed| {
                let mut media = media(&[1; 10]);
                media.flush("a").unwrap();
                media.flush_names().unwrap();
                media.create("b");
                media.write("b", 0, &[2; 10]).unwrap();
                media.flush("b").unwrap();
                media.rename("b", "a");
                media.cut(&mut Dice::new(seed));
                media.read("a").unwrap()[0]
            })
            .collect();
        assert_eq!(names, BTreeSet::from([1, 2]));
    }

    #[test]
    fn a_full_device_writes_a_part() {
        let mut media = media(&[7; 10]);
        media.fault = Some(Fault::NoRoom);
        assert_eq!(media.write("a", 10, &[9; 10]), Err(MediaError::NoRoom));
        assert_eq!(media.read("a").unwrap().len(), 15);
    }
}
