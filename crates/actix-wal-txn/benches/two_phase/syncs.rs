//! What the disk alone takes for the syncs of a transaction: a block is written and synced in each of three files at once,
//! by a thread each, and then in a fourth one. No log, no actor, no store.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Instant;

use super::found::{Found, latencies};
use crate::support::load::Load;
use crate::support::window::Window;

const BLOCK: [u8; 4096] = [7; 4096];
const BLOCKS: u64 = 1024;

/// A file whose blocks are all written already, as those of a prepared segment are.
struct Blocks {
    file: File,
    next: u64,
}

impl Blocks {
    fn new(folder: &Path, name: &str) -> Self {
        let mut file = File::create(folder.join(name)).expect("it is ours");
        (0..BLOCKS).for_each(|_| file.write_all(&BLOCK).expect("there is room"));
        file.sync_all().expect("the disk works");
        Blocks { file, next: 0 }
    }

    fn sync_one(&mut self) {
        let at = self.next % BLOCKS * BLOCK.len() as u64;
        self.file.seek(SeekFrom::Start(at)).expect("it is there");
        self.file.write_all(&BLOCK).expect("it is there");
        self.file.sync_data().expect("the disk works");
        self.next += 1;
    }
}

/// A thread with a file, that syncs a block each time it is asked, and says so. It ends with what asks.
fn syncing(mut blocks: Blocks, done: Sender<()>) -> Sender<()> {
    let (ask, asked) = channel();
    thread::spawn(move || {
        for () in asked {
            blocks.sync_one();
            if done.send(()).is_err() {
                return;
            }
        }
    });
    ask
}

/// Syncs in so many files at once, and then in one more, again and again.
pub(crate) fn run(load: &Load, at_once: usize) -> Found {
    std::fs::create_dir_all(&load.directory).expect("a directory");
    let blocks = |name: usize| Blocks::new(&load.directory, &name.to_string());
    let (done, all_done) = channel();
    let threads: Vec<_> = (0..at_once).map(|name| syncing(blocks(name), done.clone())).collect();
    let mut last = blocks(at_once);
    let (window, mut latencies) = (Window::new(load), latencies());
    while {
        let began = Instant::now();
        threads.iter().for_each(|thread| thread.send(()).expect("it goes on"));
        threads.iter().for_each(|_| all_done.recv().expect("they go on"));
        last.sync_one();
        if window.is_open() {
            latencies.saturating_record(began.elapsed().as_micros() as u64);
        }
        window.goes_on()
    } {}
    Found::new(&latencies, window.rate())
}
