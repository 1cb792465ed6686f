//! Standard output as a pipe to the parent, one line for each thing that a child tells.
//!
//! A line is one `write` that nothing buffers; a pipe takes so little at once whole or not at all. So the parent
//! knows everything that was told, and never sees half a line of a child that is killed.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Write, stdout};
use std::os::fd::AsFd;
use std::process;
use std::rc::Rc;

/// The pipe. Clones are the same.
#[derive(Clone)]
pub struct Pipe(Rc<File>);

impl Pipe {
    /// The standard output of this process, without the buffer that Rust puts before it.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub fn to_the_parent() -> io::Result<Pipe> {
        let fd = stdout().as_fd().try_clone_to_owned()?;
        let pipe = Pipe(Rc::new(File::from(fd)));
        // A line that something else has begun ends here.
        pipe.tell("");
        Ok(pipe)
    }

    /// Writes a line. Ends the process when the parent has gone.
    pub fn tell(&self, line: impl Display) {
        if (&*self.0).write_all(format!("{line}\n").as_bytes()).is_err() {
            process::exit(3);
        }
    }
}
