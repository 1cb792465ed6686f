//! Where a disaster is rehearsed: a folder, a shell in it, and what stands for the names of the page.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use test_support::pages::{Block, Shell, check, filled};
use test_support::skips::{self, skip};

use crate::PAGE;
use crate::support::{built, folder};

/// Whether these programs are there. If one is not, the test is to end.
pub(crate) fn has(tools: &[&str]) -> bool {
    tools.iter().all(|tool| skips::has(tool))
}

pub(crate) struct Scene {
    folder: TempDir,
    shell: RefCell<Shell>,
    names: Vec<(&'static str, String)>,
}

impl Scene {
    /// A scene with places for `DIR` and `BACKUP`, and a folder `ELSEWHERE`.
    pub(crate) fn new() -> Scene {
        let folder = folder();
        let programs = Path::new(env!("CARGO_BIN_EXE_walctl")).parent().expect("a folder");
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", programs.display());
        let shell = RefCell::new(Shell::new(folder.path(), &[("PATH", &path)]));
        let mut scene = Scene { folder, shell, names: Vec::new() };
        for (name, place) in [("DIR", "log"), ("BACKUP", "backup"), ("ELSEWHERE", "elsewhere")] {
            let place = scene.folder.path().join(place);
            scene.name(name, place.display().to_string());
        }
        scene.prepare("mkdir ELSEWHERE");
        scene
    }

    /// From now on the name on the page stands for this.
    pub(crate) fn name(&mut self, name: &'static str, value: String) {
        self.names.retain(|(known, _)| *known != name);
        self.names.push((name, value));
    }

    fn values(&self) -> Vec<(&str, &str)> {
        self.names.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let found = self.names.iter().find(|(known, _)| *known == name);
        PathBuf::from(&found.expect("a name of the scene").1)
    }

    /// Runs a script that is not on the page, with the same names, and gives what it prints.
    pub(crate) fn prepare(&self, script: &str) -> String {
        let script = filled(script, &self.values());
        let (said, status) =
            self.shell.borrow_mut().run(&script).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(status, 0, "{script}\n{said}");
        said.trim().to_owned()
    }

    /// Runs a block of the page.
    pub(crate) fn rehearse(&self, block: &Block) {
        let result = check(&mut self.shell.borrow_mut(), block, &self.values());
        result.unwrap_or_else(|why| panic!("{PAGE}, section Disasters, {why}"));
    }
}

/// A server whose log is `DIR`, and whose address for metrics is `HOST`.
pub(crate) struct Server {
    data: PathBuf,
    /// How many increments were acknowledged.
    acknowledged: u64,
}

impl Server {
    pub(crate) fn start_in(scene: &mut Scene) -> Server {
        let data = scene.folder.path().join("data");
        Server::start(scene, &data)
    }

    pub(crate) fn start(scene: &mut Scene, data: &Path) -> Server {
        built::server();
        let server = Server { data: data.to_owned(), acknowledged: 0 };
        scene.name("DATA", data.display().to_string());
        scene.name("DIR", data.join("log").display().to_string());
        server.begin(scene);
        server
    }

    /// Starts the process, and waits until it accepts clients.
    fn begin(&self, scene: &mut Scene) {
        let said = scene.prepare(
            "actix-wal-redis --port 0 --metrics-port 0 --dir DATA > server.out 2> server.err &
            server=$!
            until grep -q '^ready on ' server.out 2> /dev/null; do kill -0 $server && sleep 0.1 || break; done
            port=$(sed -n 's/^ready on 127.0.0.1:\\([0-9]*\\).*/\\1/p' server.out)
            echo $server $(sed -n 's/^metrics on //p' server.out)",
        );
        let (process, host) = said.split_once(' ').unwrap_or_else(|| panic!("not ready: {said}"));
        scene.name("PID", process.to_owned());
        scene.name("HOST", host.to_owned());
    }

    /// A client commits, and is told so.
    pub(crate) fn writes(&mut self, scene: &mut Scene) {
        let said = scene.prepare("redis-cli -p $port incr count");
        self.acknowledged = said.parse().unwrap_or_else(|_| panic!("no OK: {said}"));
    }

    /// From now on a call fails like this; false if `strace` may not trace here, and the test is to end.
    pub(crate) fn inject(&self, scene: &mut Scene, fault: &str) -> bool {
        let call = fault.split(':').next().expect("a call");
        let said = scene.prepare(&format!(
            "strace -f -o /dev/null -e trace={call} -e inject={fault} -p PID 2> strace.err &
            strace=$!
            until grep -q attached strace.err || ! kill -0 $strace; do sleep 0.1; done 2> /dev/null
            cat strace.err"
        ));
        let is_attached = said.contains("attached");
        if !is_attached {
            skip(&format!("strace may not trace here: {said}"));
        }
        is_attached
    }

    /// The calls do what they should again.
    pub(crate) fn heal(&self, scene: &mut Scene) {
        scene.prepare("kill -INT $strace; wait $strace || true");
    }

    /// Clients write until the server says that it takes nothing more, for this reason.
    pub(crate) fn write_until(&self, scene: &mut Scene, why: &str) {
        scene.prepare(&format!(
            "head -c 1000000 /dev/zero | tr '\\0' x > value
            while ! curl -s HOST/readyz | grep -q '^{why}'; do
                timeout 1 redis-cli -p $port -x set value < value || true
            done > /dev/null"
        ));
    }

    /// What was acknowledged is there.
    pub(crate) fn has_what_was_written(&self, scene: &mut Scene) {
        let found = scene.prepare("redis-cli -p $port get count");
        assert_eq!(found.parse(), Ok(self.acknowledged), "{}", self.data.display());
    }

    /// Ends the process.
    pub(crate) fn end(&self, scene: &mut Scene) {
        scene.prepare("kill $server; wait $server || true");
    }
}
