//! A stream of durable records.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use crate::engine::read::cursor::Cursor;
use crate::engine::state::shared::Shared;
use crate::error::ReadError;
use crate::record::{IntoRecords, Record, RecordBatch};
use crate::runtime::off_thread;

type Step =
    Pin<Box<dyn Future<Output = (Option<Cursor>, Result<Option<RecordBatch>, ReadError>)> + Send>>;

/// Durable records in LSN order: those that are there, or with [`follow`](Self::follow) also those that
/// will be. Ends after an error, and when the log closes.
///
/// Any executor can poll it. Files are read on the blocking threads of the tokio runtime that polls it, or outside of
/// one on a thread for each batch. As long as it makes progress, nothing that it has not read yet is removed.
///
/// Memory: a batch of about a mebibyte and at most one record more; and while it reads, another mebibyte, or the
/// frame it stands in if that is larger (what was in flight at once, at most `max_in_flight_bytes`). One that has
/// read everything keeps 64 KiB. A [`Record`] shares the memory of its batch: copy what is to be kept for long.
pub struct ReadStream {
    shared: Arc<Shared>,
    /// `None` while a step has it, and after an error.
    cursor: Option<Cursor>,
    step: Option<Step>,
    follow: bool,
    ready: IntoRecords,
}

impl std::fmt::Debug for ReadStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadStream").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

impl ReadStream {
    pub(crate) fn new(shared: Arc<Shared>, cursor: Cursor) -> Self {
        let ready = IntoRecords::default();
        ReadStream { shared, cursor: Some(cursor), step: None, follow: false, ready }
    }

    /// Goes on at the live tail instead of ending there: the stream then waits for the watermark, and
    /// ends when the log closes. A stream of a range ends behind the range all the same.
    pub fn follow(mut self) -> Self {
        self.follow = true;
        self
    }

    /// The next record, or `None` at the end.
    ///
    /// # Errors
    /// See [`ReadError`]; the stream ends after one.
    pub async fn next(&mut self) -> Option<Result<Record, ReadError>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// The next records, as many as were read at once. Faster than one by one.
    ///
    /// # Errors
    /// See [`ReadError`]; the stream ends after one.
    pub async fn next_batch(&mut self) -> Option<Result<RecordBatch, ReadError>> {
        poll_fn(|context| self.poll_batch(context)).await
    }

    fn poll_batch(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<RecordBatch, ReadError>>> {
        if let Some(cursor) = self.cursor.take() {
            self.step = Some(Box::pin(step(Arc::clone(&self.shared), cursor, self.follow)));
        }
        let Some(running) = &mut self.step else {
            return Poll::Ready(None);
        };
        let (cursor, result) = ready!(running.as_mut().poll(context));
        self.step = None;
        Poll::Ready(match result {
            Ok(None) => None,
            Ok(Some(batch)) => {
                self.cursor = cursor;
                Some(Ok(batch))
            }
            Err(error) => Some(Err(error)),
        })
    }
}

impl Stream for ReadStream {
    type Item = Result<Record, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(record) = self.ready.next() {
                return Poll::Ready(Some(Ok(record)));
            }
            match ready!(self.poll_batch(context)) {
                Some(Ok(batch)) => self.ready = batch.into_records(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// Reads one batch; at the tail, waits for more if it is to follow.
async fn step(
    shared: Arc<Shared>,
    mut cursor: Cursor,
    follow: bool,
) -> (Option<Cursor>, Result<Option<RecordBatch>, ReadError>) {
    loop {
        // Listen before looking, so that nothing that becomes durable in between is missed.
        let mut news = pin!(shared.tail.notified());
        news.as_mut().enable();
        let ended = shared.state().is_final();
        let read = off_thread(move || {
            let read = cursor.read();
            (cursor, read)
        });
        let (back, result) = match read.await {
            Ok(read) => read,
            Err(error) => return (None, Err(error)),
        };
        cursor = back;
        match result {
            Ok(None) if follow && !ended && !cursor.is_done() => news.await,
            result => return (Some(cursor), result),
        }
    }
}
