//! The tools that tests need, installed where they are missing.

use anyhow::{Context, Result, bail, ensure};

use crate::shell::{Shell, read, run};

/// A program, and the package that brings it.
const TOOLS: &[(&str, &str)] = &[
    ("git", "git"),
    ("strace", "strace"),
    ("faketime", "faketime"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mkfs.xfs", "xfsprogs"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("c++", "g++"),
    ("valgrind", "valgrind"),
    ("redis-server", "redis-server"),
    ("redis-cli", "redis-tools"),
    ("python3", "python3-venv"),
    ("promtool", "prometheus"),
    ("prometheus", "prometheus"),
    ("systemd-analyze", "systemd"),
];

/// Installs the packages of the programs that are missing, all in one command.
pub(super) fn install(shell: &Shell) -> Result<()> {
    let missing: Vec<_> =
        TOOLS.iter().filter(|(program, _)| shell.which(program).is_none()).collect();
    let Some((program, _)) = missing.first() else {
        println!("every tool is there");
        return Ok(());
    };
    println!("missing: {missing:?}");
    let is_root = read(shell.command("id").arg("-u"))?.trim() == "0";
    if !is_root && shell.which("sudo").is_none() {
        bail!("{program} is missing, and installing it needs root or sudo");
    }
    if shell.which("apt-get").is_none() {
        bail!("{program} is missing, and there is no apt-get to install it with");
    }
    let apt = |arguments: &[&str]| {
        let mut command = shell.command(if is_root { "env" } else { "sudo" });
        command.args(if is_root { &[][..] } else { &["-n", "env"] });
        run(command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]).args(arguments))
    };
    apt(&["update", "-qq"])?;
    let packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    apt(&[&["install", "-y", "-qq", "--no-install-recommends"], &packages[..]].concat())
        .context("installing the tools that tests need")?;
    for (program, package) in missing {
        ensure!(shell.which(program).is_some(), "{program} is missing also with {package}");
    }
    Ok(())
}
