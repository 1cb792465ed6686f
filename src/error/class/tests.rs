use std::collections::BTreeSet;
use std::fmt;

use super::*;

/// What the manual pages of Linux give for each call of a log, and what its file systems are known to
/// return beside.
const DOCUMENTED: &[(&str, &[Errno])] = &[
    (
        "open, openat",
        &[
            Errno::ACCESS,
            Errno::BADF,
            Errno::BUSY,
            Errno::DQUOT,
            Errno::EXIST,
            Errno::FAULT,
            Errno::FBIG,
            Errno::INTR,
            Errno::INVAL,
            Errno::ISDIR,
            Errno::LOOP,
            Errno::MFILE,
            Errno::NAMETOOLONG,
            Errno::NFILE,
            Errno::NODEV,
            Errno::NOENT,
            Errno::NOMEM,
            Errno::NOSPC,
            Errno::NOTDIR,
            Errno::NXIO,
            Errno::OPNOTSUPP,
            Errno::OVERFLOW,
            Errno::PERM,
            Errno::ROFS,
            Errno::TXTBSY,
            Errno::AGAIN,
            Errno::IO,
        ],
    ),
    (
        "pwrite64",
        &[
            Errno::AGAIN,
            Errno::BADF,
            Errno::DESTADDRREQ,
            Errno::DQUOT,
            Errno::FAULT,
            Errno::FBIG,
            Errno::INTR,
            Errno::INVAL,
            Errno::IO,
            Errno::NOSPC,
            Errno::PERM,
            Errno::PIPE,
            Errno::NXIO,
            Errno::OVERFLOW,
            Errno::SPIPE,
            Errno::NOMEM,
            Errno::ROFS,
            Errno::STALE,
        ],
    ),
    (
        "pread64",
        &[
            Errno::AGAIN,
            Errno::BADF,
            Errno::FAULT,
            Errno::INTR,
            Errno::INVAL,
            Errno::IO,
            Errno::ISDIR,
            Errno::NXIO,
            Errno::OVERFLOW,
            Errno::SPIPE,
            Errno::NOMEM,
            Errno::STALE,
            Errno::BADMSG,
            Errno::UCLEAN,
        ],
    ),
    (
        "fdatasync, fsync",
        &[
            Errno::BADF,
            Errno::INTR,
            Errno::IO,
            Errno::NOSPC,
            Errno::ROFS,
            Errno::INVAL,
            Errno::DQUOT,
            Errno::NOMEM,
            Errno::STALE,
            Errno::TIMEDOUT,
            Errno::NOLINK,
            Errno::REMOTEIO,
            Errno::UCLEAN,
        ],
    ),
    (
        "renameat2",
        &[
            Errno::ACCESS,
            Errno::BUSY,
            Errno::DQUOT,
            Errno::EXIST,
            Errno::FAULT,
            Errno::INVAL,
            Errno::ISDIR,
            Errno::LOOP,
            Errno::MLINK,
            Errno::NAMETOOLONG,
            Errno::NOENT,
            Errno::NOMEM,
            Errno::NOSPC,
            Errno::NOTDIR,
            Errno::NOTEMPTY,
            Errno::PERM,
            Errno::ROFS,
            Errno::XDEV,
            Errno::BADF,
            Errno::NOSYS,
            Errno::IO,
        ],
    ),
    (
        "unlinkat",
        &[
            Errno::ACCESS,
            Errno::BUSY,
            Errno::FAULT,
            Errno::IO,
            Errno::ISDIR,
            Errno::LOOP,
            Errno::NAMETOOLONG,
            Errno::NOENT,
            Errno::NOMEM,
            Errno::NOTDIR,
            Errno::PERM,
            Errno::ROFS,
            Errno::BADF,
            Errno::INVAL,
        ],
    ),
    (
        "ftruncate",
        &[
            Errno::BADF,
            Errno::FBIG,
            Errno::INTR,
            Errno::INVAL,
            Errno::IO,
            Errno::PERM,
            Errno::ROFS,
            Errno::TXTBSY,
            Errno::NOSPC,
            Errno::DQUOT,
            Errno::NOMEM,
        ],
    ),
    ("clone", &[Errno::AGAIN, Errno::NOMEM, Errno::PERM, Errno::INVAL, Errno::NOSYS]),
    ("flock", &[Errno::BADF, Errno::INTR, Errno::INVAL, Errno::NOLCK, Errno::AGAIN, Errno::DEADLK]),
    (
        "mkdir, getdents64, fstat, statfs",
        &[
            Errno::ACCESS,
            Errno::DQUOT,
            Errno::EXIST,
            Errno::FAULT,
            Errno::INVAL,
            Errno::IO,
            Errno::LOOP,
            Errno::MLINK,
            Errno::NAMETOOLONG,
            Errno::NFILE,
            Errno::NOENT,
            Errno::NOMEM,
            Errno::NOSPC,
            Errno::NOSYS,
            Errno::NOTDIR,
            Errno::OVERFLOW,
            Errno::PERM,
            Errno::ROFS,
            Errno::BADF,
            Errno::INTR,
        ],
    ),
];

fn os(errno: Errno) -> io::Error {
    io::Error::from_raw_os_error(errno.raw_os_error())
}

#[test]
fn p21_every_errno_of_every_call_of_a_log_stands_in_the_table_once_and_with_a_reason() {
    let known: BTreeSet<i32> = BY_ERRNO.iter().map(|(errno, ..)| errno.raw_os_error()).collect();
    assert_eq!(known.len(), BY_ERRNO.len(), "a number stands there twice");
    for (call, errnos) in DOCUMENTED {
        for errno in *errnos {
            assert!(known.contains(&errno.raw_os_error()), "{call} may give {errno:?}");
        }
    }
    for (errno, class, why) in BY_ERRNO {
        assert!(!why.is_empty(), "{errno:?}");
        assert_eq!(FaultClass::of(&os(*errno)), *class, "{errno:?}");
    }
}

#[test]
fn p21_the_numbers_that_pass_and_those_that_end_the_log_are_these_and_no_others() {
    // By number, over all that there are: a row that goes missing, or is added, shows here.
    let of = |class| {
        (1..134)
            .filter(|n| FaultClass::of(&io::Error::from_raw_os_error(*n)) == class)
            .collect::<Vec<_>>()
    };
    let numbers = |errnos: &[Errno]| {
        errnos
            .iter()
            .map(|errno| errno.raw_os_error())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of(Shortage),
        numbers(&[Errno::AGAIN, Errno::NOMEM, Errno::MFILE, Errno::NFILE, Errno::NOLCK])
    );
    assert_eq!(of(NoSpace), numbers(&[Errno::NOSPC, Errno::DQUOT]));
    let permanent = [
        Errno::ROFS,
        Errno::ACCESS,
        Errno::PERM,
        Errno::FBIG,
        Errno::NOTDIR,
        Errno::ISDIR,
        Errno::LOOP,
        Errno::NAMETOOLONG,
        Errno::XDEV,
        Errno::NOSYS,
        Errno::OPNOTSUPP,
        Errno::INVAL,
    ];
    assert_eq!(of(Permanent), numbers(&permanent));
}

#[test]
fn p21_an_error_without_a_number_is_judged_by_its_kind() {
    for (kind, class) in BY_KIND {
        assert_eq!(FaultClass::of(&(*kind).into()), *class, "{kind:?}");
        assert_eq!(FaultClass::of(&io::Error::new(*kind, "of a host")), *class, "{kind:?}");
    }
    for kind in [io::ErrorKind::Other, io::ErrorKind::WriteZero, io::ErrorKind::UnexpectedEof] {
        assert_eq!(FaultClass::of(&kind.into()), Device, "{kind:?}");
    }
    // Where the standard library has a kind for a number, both say the same.
    for (errno, class, _) in BY_ERRNO {
        let kind = os(*errno).kind();
        if let Some((_, by_kind)) = BY_KIND.iter().find(|(known, _)| *known == kind) {
            assert_eq!(by_kind, class, "{errno:?} is {kind:?}");
        }
    }
}

#[derive(Debug)]
struct Wrapped<E>(E);

impl<E> fmt::Display for Wrapped<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("while the moon was full")
    }
}

impl<E: Error + 'static> Error for Wrapped<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn p21_a_number_is_found_under_what_somebody_has_wrapped_around_it() {
    let wrap = |inner: Box<dyn Error + Send + Sync>| io::Error::other(inner);
    let emfile = || os(Errno::MFILE);
    assert_eq!(emfile().kind(), io::Error::from_raw_os_error(24).kind());
    assert_eq!(FaultClass::of(&wrap(Box::new(emfile()))), Shortage);
    assert_eq!(FaultClass::of(&wrap(Box::new(Wrapped(emfile())))), Shortage);
    assert_eq!(FaultClass::of(&wrap(Box::new(Wrapped(Arc::new(emfile()))))), Shortage);
    assert_eq!(FaultClass::of(&wrap(Box::new(Wrapped(wrap(Box::new(emfile())))))), Shortage);
    assert_eq!(FaultClass::of(&wrap("no number".into())), Device);
}

#[test]
fn the_first_cause_is_shown_first_and_the_latest_decides() {
    let fault = |op, errno| Cause::from(IoFault::new(op, "7.wal", None, os(errno)));
    let first = fault(IoOp::Write, Errno::IO);
    assert_eq!(first.clone().followed_by(first.clone()).to_string(), first.to_string());
    let then =
        first.clone().followed_by(Cause::Closed).followed_by(fault(IoOp::Create, Errno::MFILE));
    let said = then.to_string();
    assert!(
        said.starts_with("writing 7.wal: Input/output error (os error 5); after that: "),
        "{said}"
    );
    assert!(
        said.contains("short of file descriptors: creating 7.wal: ")
            && said.contains("os error 24"),
        "{said}"
    );
    assert_eq!((then.class(), then.is_no_space()), (Shortage, false));
    let full = first.followed_by(fault(IoOp::Write, Errno::NOSPC));
    assert!(full.is_no_space() && full.no_space().is_some());
}

#[test]
fn a_shortage_says_what_is_short() {
    let said = |op, errno| Cause::from(IoFault::new(op, "x", None, os(errno))).to_string();
    for (op, errno, what) in [
        (IoOp::StartThread, Errno::AGAIN, "threads"),
        (IoOp::Create, Errno::MFILE, "file descriptors"),
        (IoOp::Create, Errno::NFILE, "file descriptors of the system"),
        (IoOp::Sync, Errno::NOMEM, "memory"),
        (IoOp::OpenDirectory, Errno::NOLCK, "locks"),
    ] {
        let text = said(op, errno);
        assert!(text.starts_with(&format!("short of {what}: ")), "{text}");
        assert!(text.contains(&format!("(os error {})", errno.raw_os_error())), "{text}");
    }
}
