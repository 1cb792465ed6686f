//! What the server asks of the operating system: descriptors for its clients, and to find those that are gone.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors beside those of clients: the log, its segments and snapshots, and what the runtime needs. Redis keeps as many.
const OTHERS: u64 = 32;

/// Makes room for so many clients, and returns for how many there is room.
///
/// `others` are descriptors that the process needs beside those of every server.
pub(super) fn make_room_for(clients: usize, others: usize) -> usize {
    let others = OTHERS + others as u64;
    let wanted = (clients as u64).saturating_add(others);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return clients;
    }
    let most = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum });
    let have = if raised.is_ok() { most } else { current.unwrap_or(most) };
    usize::try_from(have.saturating_sub(others).max(1)).unwrap_or(clients).min(clients)
}

/// After so many seconds of silence the kernel asks whether the client is there, three times, as Redis has it done.
pub(super) fn keep_alive(stream: impl AsFd, seconds: u32) -> io::Result<()> {
    if seconds == 0 {
        return Ok(());
    }
    let seconds = Duration::from_secs(seconds.into());
    sockopt::set_socket_keepalive(&stream, true)?;
    sockopt::set_tcp_keepidle(&stream, seconds)?;
    sockopt::set_tcp_keepintvl(&stream, (seconds / 3).max(Duration::from_secs(1)))?;
    Ok(sockopt::set_tcp_keepcnt(&stream, 3)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_for_clients_is_made_up_to_what_the_system_allows() {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(make_room_for(10, 0), 10);
        let all = make_room_for(usize::MAX, 100);
        match maximum {
            Some(maximum) => assert_eq!(all as u64, maximum - OTHERS - 100),
            None => assert_eq!(all, usize::MAX),
        }
        assert!(getrlimit(Resource::Nofile).current >= current);
    }
}
