//! Peers that replay when they are opened: how each writes the same records, and gives them back.

use std::path::Path;
use std::time::Instant;

use super::recovery::{Records, Recovered, look};
use crate::error::EngineError;

/// An entry per frame, a chunk per record.
pub mod okaywal {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use ::okaywal::{
        Configuration, Entry, EntryId, LogManager, LogVoid, SegmentReader, WriteAheadLog,
    };

    use super::*;

    pub fn write(log: &Path, record: &[u8], records: Records) -> Result<(), EngineError> {
        let configuration = Configuration::default_for(log).checkpoint_after_bytes(u64::MAX);
        let log = configuration.open(LogVoid).map_err(EngineError::open)?;
        for _ in 0..records.frames {
            let mut entry = log.begin_entry().map_err(EngineError::commit)?;
            for _ in 0..records.per_frame {
                entry.write_chunk(record).map_err(EngineError::commit)?;
            }
            entry.commit().map_err(EngineError::commit)?;
        }
        log.shutdown().map_err(EngineError::commit)
    }

    /// A host that looks at every record.
    #[derive(Debug, Default)]
    struct Host(Arc<AtomicU64>);

    impl LogManager for Host {
        fn recover(&mut self, entry: &mut Entry<'_>) -> io::Result<()> {
            // `None` is an entry that was never finished.
            let chunks = entry.read_all_chunks()?.unwrap_or_default();
            chunks.iter().for_each(|chunk| look(chunk));
            self.0.fetch_add(chunks.len() as u64, Ordering::Relaxed);
            Ok(())
        }

        fn checkpoint_to(
            &mut self,
            _: EntryId,
            _: &mut SegmentReader,
            _: &WriteAheadLog,
        ) -> io::Result<()> {
            Ok(())
        }
    }

    pub fn recover(log: &Path) -> Result<Recovered, EngineError> {
        let host = Host::default();
        let replayed = Arc::clone(&host.0);
        let configuration = Configuration::default_for(log).checkpoint_after_bytes(u64::MAX);
        let started = Instant::now();
        let log = configuration.open(host).map_err(EngineError::open)?;
        let took = started.elapsed();
        drop(log);
        Ok(Recovered { took, records: replayed.load(Ordering::Relaxed), bytes: None })
    }
}

/// A batch per frame, a key per record. It replays into its memtable, which is then looked through.
pub mod raft_engine {
    use ::raft_engine::{Config, Engine, LogBatch, ReadableSize};

    use super::*;

    const REGION: u64 = 1;

    fn open(log: &Path) -> Result<Engine, EngineError> {
        let config = Config {
            dir: log.to_string_lossy().into_owned(),
            batch_compression_threshold: ReadableSize(0),
            ..Config::default()
        };
        Engine::open(config).map_err(EngineError::open)
    }

    pub fn write(log: &Path, record: &[u8], records: Records) -> Result<(), EngineError> {
        let engine = open(log)?;
        let mut keys = 0u64..;
        let mut batch = LogBatch::default();
        for _ in 0..records.frames {
            for key in keys.by_ref().take(records.per_frame as usize) {
                let (key, value) = (key.to_be_bytes().to_vec(), record.to_vec());
                batch.put(REGION, key, value).map_err(EngineError::commit)?;
            }
            engine.write(&mut batch, true).map_err(EngineError::commit)?;
        }
        Ok(())
    }

    pub fn recover(log: &Path) -> Result<Recovered, EngineError> {
        let started = Instant::now();
        let engine = open(log)?;
        let mut records = 0;
        let scanned = engine.scan_raw_messages(REGION, None, None, false, |_, value| {
            look(value);
            records += 1;
            true
        });
        scanned.map_err(EngineError::open)?;
        Ok(Recovered { took: started.elapsed(), records, bytes: None })
    }
}

/// A batch per frame. It checks its files when it starts, and is then streamed from the first record on.
pub mod writeahead {
    use std::future::poll_fn;
    use std::pin::Pin;

    use ::writeahead::{SimpleFile, WriteAhead, WriteAheadOptions};
    use futures_core::Stream;

    use super::*;

    fn open(log: &Path) -> Result<WriteAhead<SimpleFile>, EngineError> {
        let options = WriteAheadOptions { log_dir: log.to_owned(), ..WriteAheadOptions::default() };
        let mut log = WriteAhead::with_options(options);
        log.start().map_err(EngineError::open)?;
        Ok(log)
    }

    pub fn write(log: &Path, record: &[u8], records: Records) -> Result<(), EngineError> {
        let log = open(log)?;
        let writer = log.writer().map_err(EngineError::open)?;
        run(async move {
            for _ in 0..records.frames {
                let batch = (0..records.per_frame).map(|_| record.to_vec()).collect();
                writer.write_batch(batch).await.map_err(EngineError::commit)?;
            }
            Ok(())
        })
    }

    pub fn recover(log: &Path) -> Result<Recovered, EngineError> {
        let started = Instant::now();
        let log = open(log)?;
        let mut stream = log.create_stream().map_err(EngineError::open)?;
        run(async {
            let mut records = 0;
            while let Some(record) = poll_fn(|cx| Pin::new(&mut stream).poll_next(cx)).await {
                let (_, payload) = record.map_err(EngineError::open)?;
                look(&payload);
                records += 1;
            }
            Ok(Recovered { took: started.elapsed(), records, bytes: None })
        })
    }

    fn run<T>(future: impl Future<Output = Result<T, EngineError>>) -> Result<T, EngineError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.map_err(EngineError::open)?.block_on(future)
    }
}
