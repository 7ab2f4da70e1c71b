//! A RabbitMQ server that a test starts on free ports in a folder of its own, and that ends with the test.
use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A running server. It ends when it is dropped.
pub(crate) struct RabbitMqServer {
    pub(crate) port: u16,
    pub(crate) tls_port: u16,
    /// The certificate that the server shows, in PEM.
    pub(crate) certificate: String,
    /// The ports of Erlang's distribution and of its name server, which only the tools use.
    distribution_port: u16,
    names_port: u16,
    folder: tempfile::TempDir,
    process: Option<Child>,
}

impl RabbitMqServer {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [port, tls_port, distribution_port, names_port] = free_ports();
        let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let certificate = certified.cert.pem();
        fs::write(folder.path().join("certificate.pem"), &certificate).unwrap();
        fs::write(folder.path().join("key.pem"), certified.signing_key.serialize_pem()).unwrap();
        let configuration = format!(
            "listeners.tcp.1 = 127.0.0.1:{port}\nlisteners.ssl.1 = 127.0.0.1:{tls_port}\n\
             ssl_options.certfile = {0}/certificate.pem\nssl_options.keyfile = {0}/key.pem\nlog.file.level = warning\nheartbeat = 60\n\
             vm_memory_high_watermark.absolute = 512MB\ndisk_free_limit.absolute = 1MB\n",
            folder.path().display()
        );
        fs::write(folder.path().join("rabbitmq.conf"), configuration).unwrap();
        fs::write(folder.path().join("enabled_plugins"), "[].\n").unwrap();
        let mut server = Self { port, tls_port, certificate, distribution_port, names_port, folder, process: None };
        server.restart();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("amqp://127.0.0.1:{}", self.port)
    }

    /// Starts the server again after [`kill`](Self::kill).
    pub(crate) fn restart(&mut self) {
        let log = fs::File::create(self.folder.path().join("output")).unwrap();
        let mut command = self.command("rabbitmq-server");
        // A group of its own, so that all its processes end together.
        command.process_group(0).stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(command.spawn().expect("rabbitmq-server is installed"));
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let output = || fs::read_to_string(self.folder.path().join("output")).unwrap_or_default();
            assert!(start.elapsed() < Duration::from_secs(120), "RabbitMQ does not listen: {}", output());
            std::thread::sleep(Duration::from_millis(50));
        }
        // It takes connections a moment before it has finished starting.
        self.control(&["await_startup"]);
    }

    /// Ends the server at once.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            self.signal(&process, "-KILL");
            process.wait().unwrap();
            let start = Instant::now();
            while TcpStream::connect(("127.0.0.1", self.port)).is_ok() && start.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// Stops the processes of the server without ending them, or lets them go on.
    pub(crate) fn pause(&self, paused: bool) {
        self.signal(self.process.as_ref().unwrap(), if paused { "-STOP" } else { "-CONT" });
    }

    /// Runs `rabbitmqctl` and returns what it says.
    pub(crate) fn control(&self, arguments: &[&str]) -> String {
        let output = self.command("rabbitmqctl").arg("--quiet").args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text} {}", String::from_utf8_lossy(&output.stderr));
        text
    }

    fn signal(&self, process: &Child, signal: &str) {
        let group = format!("-{}", process.id());
        assert!(Command::new("kill").args([signal, "--", &group]).status().unwrap().success());
    }

    fn command(&self, program: &str) -> Command {
        let folder = self.folder.path();
        // Debian's wrapper in the path changes to another user and the folders of the system.
        let mut command = Command::new(programs().join(program));
        command
            .env("HOME", folder)
            .env("RABBITMQ_HOME", "/usr/lib/rabbitmq")
            .env("RABBITMQ_NODENAME", format!("sockeye-{}@localhost", self.port))
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env("ERL_EPMD_PORT", self.names_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_RELAXED_COMMAND_CHECK", "1")
            .env("RABBITMQ_CONF_ENV_FILE", folder.join("none"))
            .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("enabled_plugins"))
            .env("RABBITMQ_MNESIA_BASE", folder.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", folder.join("log"))
            .env("RABBITMQ_PID_FILE", folder.join("pid"))
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none")
            .stdin(Stdio::null());
        command
    }
}

impl Drop for RabbitMqServer {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
        // Erlang's name server outlives the servers that it names.
        let _ended = self.command_of_names("-kill");
    }
}

impl RabbitMqServer {
    fn command_of_names(&self, argument: &str) -> Option<std::process::Output> {
        let mut command = Command::new("epmd");
        command.args(["-port", &self.names_port.to_string(), argument]).env("ERL_EPMD_RELAXED_COMMAND_CHECK", "1");
        command.output().ok()
    }
}

fn programs() -> PathBuf {
    let folders = ["/usr/lib/rabbitmq/bin", "/usr/sbin", "/opt/homebrew/sbin"].map(PathBuf::from);
    folders.into_iter().find(|folder| folder.join("rabbitmq-server").exists()).expect("RabbitMQ is not installed")
}

/// Different ports.
fn free_ports() -> [u16; 4] {
    let listeners = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
