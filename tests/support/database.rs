//! Real databases: a PostgreSQL and a MariaDB of the test's own, as children on free ports, and SQLite in a file.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use gema::config::Config;
use gema::store::{Pool, Store};
use sqlx::AssertSqlSafe;
use tempfile::TempDir;

use super::child::Child;
use super::port::Port;
use super::until;

/// For stores that only look: what is on by default would make its tables.
const NO_TABLES: &str = "chat.enabled = false\n";

/// What a database is, and how it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
    MariaDb,
}

/// A database that begins empty, and can be killed and started again.
pub struct Database {
    kind: Kind,
    port: Port,
    directory: TempDir,
    child: Option<Child>,
}

impl Database {
    /// Starts one and waits until it answers.
    pub async fn start(kind: Kind) -> Database {
        let mut database = Database {
            kind,
            port: Port::free(),
            directory: tempfile::tempdir().expect("a directory"),
            child: None,
        };
        database.prepare();
        database.start_again().await;
        database
    }

    /// One that is not running yet.
    pub fn down(kind: Kind) -> Database {
        let database = Database {
            kind,
            port: Port::free(),
            directory: tempfile::tempdir().expect("a directory"),
            child: None,
        };
        database.prepare();
        database
    }

    /// As `database.url` names it.
    pub fn url(&self) -> String {
        let port = self.port.address().port();
        match self.kind {
            Kind::Sqlite => format!("sqlite://{}", self.data().join("gema.db").display()),
            Kind::Postgres => format!("postgres://gema@127.0.0.1:{port}/postgres"),
            Kind::MariaDb => format!("mysql://gema:gema@127.0.0.1:{port}/gema"),
        }
    }

    /// The setting that names it.
    pub fn setting(&self) -> String {
        format!("[database]\nurl = '{}'\n", self.url())
    }

    /// A pool of the test's own; gema's tables are not made by it.
    pub async fn pool(&self) -> Pool {
        let setting = format!("{NO_TABLES}{}max_connections = 4", self.setting());
        let config = Config::from_toml(&setting).expect("a database's setting");
        let store = Store::start(&config.database);
        store.pool().await.expect("it answers").clone()
    }

    /// `kill -9`; nothing happens to a file.
    pub fn kill(&mut self) {
        self.child = None;
    }

    /// Starts it where it was before, with what it had committed.
    pub async fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs");
        self.child = self.spawn();
        until("the database answers", async || {
            // What a killed one has left behind may keep the next from starting for a moment.
            if self
                .child
                .as_mut()
                .is_some_and(|child| child.exit_code().is_some())
            {
                self.child = self.spawn();
            }
            self.answers().await
        })
        .await;
    }

    fn spawn(&self) -> Option<Child> {
        let port = self.port.address().port().to_string();
        let data = self.data();
        let data = data.to_str().expect("a path");
        match self.kind {
            Kind::Sqlite => None,
            Kind::Postgres => {
                let program = programs().join("postgres");
                let program = program.to_str().expect("a path");
                let mut args = vec!["-D", data, "-p", &port, "-h", "127.0.0.1", "-k", ""];
                args.extend(["-c", "fsync=off", "-c", "shared_buffers=16MB"]);
                Some(as_user("postgres", program, &args))
            }
            Kind::MariaDb => {
                let flags = [
                    "--no-defaults".to_owned(),
                    format!("--datadir={data}"),
                    format!("--port={port}"),
                    "--bind-address=127.0.0.1".to_owned(),
                    format!("--socket={data}/socket"),
                    format!("--pid-file={data}/pid"),
                    format!("--log-error={data}/error.log"),
                    "--innodb-flush-log-at-trx-commit=2".to_owned(),
                    "--skip-name-resolve".to_owned(),
                ];
                let args: Vec<&str> = flags.iter().map(String::as_str).collect();
                Some(as_user("mysql", "mariadbd", &args))
            }
        }
    }

    async fn answers(&self) -> bool {
        let setting = format!("{NO_TABLES}{}", self.setting());
        let config = Config::from_toml(&setting).expect("a database's setting");
        Store::start(&config.database).pool().await.is_ok()
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Makes the empty database on disk.
    fn prepare(&self) {
        let data = self.data();
        std::fs::create_dir(&data).expect("a directory");
        let open = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
        };
        open(self.directory.path(), 0o755);
        match self.kind {
            Kind::Sqlite => {}
            Kind::Postgres => {
                own("postgres", &data);
                let initdb = programs().join("initdb");
                let initdb = initdb.to_str().expect("a path");
                let args = ["-U", "gema", "-A", "trust", "--no-sync", "-D"];
                finish(command_as("postgres", initdb).args(args).arg(&data));
            }
            Kind::MariaDb => {
                own("mysql", &data);
                finish(
                    command_as("mysql", "mariadb-install-db")
                        .args([
                            "--no-defaults",
                            "--skip-test-db",
                            "--auth-root-authentication-method=normal",
                        ])
                        .arg(format!("--datadir={}", data.display())),
                );
                let start = "create database gema character set utf8mb4;\n\
                             create user gema@'127.0.0.1' identified by 'gema';\n\
                             grant all on gema.* to gema@'127.0.0.1';\n";
                let bootstrap = data.join("start.sql");
                std::fs::write(&bootstrap, format!("flush privileges;\n{start}")).expect("a file");
                let input = std::fs::File::open(&bootstrap).expect("a file");
                finish(
                    command_as("mysql", "mariadbd")
                        .args(["--no-defaults", "--bootstrap"])
                        .arg(format!("--datadir={}", data.display()))
                        .stdin(input),
                );
            }
        }
    }
}

/// Runs statements that give nothing back, in one transaction where the database has such.
pub async fn run(pool: &Pool, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    let done = match pool {
        Pool::Sqlite(pool) => sqlx::raw_sql(sql).execute(pool).await.map(drop),
        Pool::Postgres(pool) => sqlx::raw_sql(sql).execute(pool).await.map(drop),
        Pool::MySql(pool) => sqlx::raw_sql(sql).execute(pool).await.map(drop),
    };
    done.expect("the statements run");
}

/// One number; `None` while the table is not there.
pub async fn number(pool: &Pool, sql: &str) -> Option<i64> {
    let sql = AssertSqlSafe(sql.to_owned());
    let found = match pool {
        Pool::Sqlite(pool) => sqlx::query_scalar(sql).fetch_one(pool).await,
        Pool::Postgres(pool) => sqlx::query_scalar(sql).fetch_one(pool).await,
        Pool::MySql(pool) => sqlx::query_scalar(sql).fetch_one(pool).await,
    };
    found.ok()
}

/// Neither server runs as root; whoever else runs the tests owns what is made.
fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id");
    id.stdout.trim_ascii() == b"0"
}

fn own(user: &str, directory: &Path) {
    if is_root() {
        finish(Command::new("chown").arg(user).arg(directory));
    }
}

fn identity(user: &str) -> [String; 3] {
    [
        format!("--reuid={user}"),
        format!("--regid={user}"),
        "--clear-groups".to_owned(),
    ]
}

fn command_as(user: &str, program: &str) -> Command {
    let mut command = Command::new("setpriv");
    if is_root() {
        command.args(identity(user));
    }
    let path = std::env::var("PATH").expect("a PATH");
    command
        .arg(program)
        .env("PATH", format!("{path}:/usr/sbin"));
    command
}

fn as_user(user: &str, program: &str, args: &[&str]) -> Child {
    if !is_root() {
        return Child::start(program, args, &[]);
    }
    let identity = identity(user);
    let identity: Vec<&str> = identity.iter().map(String::as_str).collect();
    // The death signal is forgotten when the user changes, so it is set after that.
    let after = ["setpriv", "--pdeathsig", "KILL", program];
    let args: Vec<&str> = [&identity[..], &after[..], args].concat();
    Child::start("setpriv", &args, &[])
}

/// Runs a command to its end, which must be good.
fn finish(command: &mut Command) {
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
}

/// Debian keeps PostgreSQL's programs in a directory of their version's, outside of PATH.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let directories = versions.flatten().map(|version| version.path().join("bin"));
    let found = directories
        .filter(|bin| bin.join("postgres").exists())
        .max();
    found.expect("PostgreSQL, as tests/run.sh installs it")
}
