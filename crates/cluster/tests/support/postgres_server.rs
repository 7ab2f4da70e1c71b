//! A PostgreSQL server in a temporary folder, on a free port.
use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::MetadataExt, fs::chown, process::CommandExt},
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// The user who may do everything, and who has this password.
const USER: &str = "sockeye";
const PASSWORD: &str = "p@ss:word/1";

/// A running server. It ends when it is dropped.
pub(crate) struct PostgresServer {
    folder: PathBuf,
    programs: PathBuf,
    pub(crate) port: u16,
    user: Option<(u32, u32)>,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl PostgresServer {
    /// Starts a server with an empty database.
    pub(crate) fn start() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("sockeye-postgres-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        // PostgreSQL refuses to run as root.
        let user = (fs::metadata("/proc/self").unwrap().uid() == 0).then(postgres_user);
        if let Some((user, group)) = user {
            chown(&folder, Some(user), Some(group)).unwrap();
        }
        let server = Self { programs: programs(), port: free_port(), user, folder };
        fs::write(server.folder.join("password"), PASSWORD).unwrap();
        let password = server.folder.join("password").display().to_string();
        server.run("initdb", &["-U", USER, "--auth=scram-sha-256", "--pwfile", &password, "-E", "UTF8", "--no-sync"]);
        server.restart();
        server
    }

    /// Starts the server again after [`stop`](Self::stop).
    pub(crate) fn restart(&self) {
        let folder = self.folder.display();
        let options =
            format!("-p {} -h 127.0.0.1 -k {folder} -F -c max_connections=50 -c shared_buffers=1MB", self.port);
        let log = self.folder.join("log").display().to_string();
        self.run("pg_ctl", &["start", "-w", "-l", &log, "-o", &options]);
    }

    /// Stops the server and ends its connections.
    pub(crate) fn stop(&self) {
        self.run("pg_ctl", &["stop", "-w", "-m", "immediate"]);
    }

    /// The address, with the password as it is in a URL.
    pub(crate) fn url(&self) -> String {
        format!("postgres://{USER}:p%40ss%3Aword%2F1@127.0.0.1:{}/postgres", self.port)
    }

    /// Runs a statement and returns what it says.
    pub(crate) fn query(&self, sql: &str) -> String {
        let port = self.port.to_string();
        let args = ["-h", "127.0.0.1", "-p", &port, "-U", USER, "-d", "postgres", "-tAc", sql];
        let output = self.command("psql").env("PGPASSWORD", PASSWORD).args(args).output().unwrap();
        text(&output)
    }

    fn run(&self, program: &str, args: &[&str]) {
        let mut command = self.command(program);
        // The server that is started keeps the output open, so that nobody may wait for its end.
        command.args(["-D", &self.folder.join("data").display().to_string()]).args(args).stdout(Stdio::null());
        let error = self.folder.join("errors");
        command.stderr(fs::File::create(&error).unwrap());
        let status = command.status().unwrap();
        assert!(status.success(), "{program} failed: {}", fs::read_to_string(error).unwrap_or_default());
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(&self.folder).stdin(Stdio::null());
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        let data = self.folder.join("data");
        let stop = self.command("pg_ctl").args(["stop", "-w", "-m", "immediate", "-D"]).arg(data).output();
        drop(stop);
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// The newest PostgreSQL that Debian has installed, or the one in the path.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let folder = versions.map(|version| version.path().join("bin")).filter(|bin| bin.join("initdb").exists()).max();
    folder.unwrap_or_else(|| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).find(|bin| bin.join("initdb").exists()).expect("PostgreSQL is not installed")
    })
}

fn postgres_user() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("there is no user `postgres`");
    let mut ids = line.split(':').skip(2).map(|id| id.parse().unwrap());
    (ids.next().unwrap(), ids.next().unwrap())
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
