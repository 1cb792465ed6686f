//! The programs that these tests need beside our own. Where one is missing, a part of the tests is left out; in CI that is
//! a failure.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use test_support::scratch::place;
use test_support::skips::skip;

/// The version of `redis-py`.
const REDIS_PY: &str = "redis==5.2.1";

fn says(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    let output = command.args(arguments).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether this program of Debian's package `redis-tools` is there. If it is not, the test is to end.
pub(crate) fn has(program: &str) -> bool {
    let found = says(program, &["--version"]).is_some();
    if !found {
        skip(&format!("{program} is not installed"));
    }
    found
}

/// Whether a Redis of version 7.0 is there, which ours is compared with: others have other texts of errors.
pub(crate) fn has_redis_server() -> bool {
    let version = says("redis-server", &["--version"]).unwrap_or_default();
    let found = version.contains(" v=7.0.");
    if !found {
        skip(&format!("redis-server 7.0 is not installed, but {version:?}"));
    }
    found
}

/// A Python that has `redis-py`: in a virtual environment below the target directory, made at the first call.
pub(crate) fn python() -> Option<PathBuf> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let python = PYTHON.get_or_init(make_python);
    python.as_ref().map_err(|why| skip(why)).ok().cloned()
}

fn make_python() -> Result<PathBuf, String> {
    let folder = place().join("redis-py");
    let python = folder.join("bin").join("python3");
    let path = python.to_str().expect("a plain path");
    let has_it = || says(path, &["-c", "import redis; print(redis.__version__)"]);
    if has_it().is_none_or(|version| !REDIS_PY.ends_with(version.trim())) {
        let made = says("python3", &["-m", "venv", "--clear", folder.to_str().expect("plain")]);
        made.ok_or("python3 makes no virtual environment")?;
        says(path, &["-m", "pip", "install", "--quiet", "--disable-pip-version-check", REDIS_PY])
            .ok_or("redis-py can not be installed")?;
        has_it().ok_or("redis-py can not be imported")?;
    }
    Ok(python)
}
