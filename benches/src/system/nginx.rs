//! nginx with one gate or another, or none.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{Kind, Server, System, fill, free_address, libraries};
use crate::helper::Origin;
use crate::http::Client;
use crate::lab::{self, Lab};
use crate::process;

const TEMPLATE: &str = include_str!("../../conf/nginx.conf");
const SCRIPT: &str = include_str!("../../conf/gate.lua");

/// Addresses of one server, so that many clients do not run out of ports.
const HOSTS: u8 = 4;

pub struct Setup {
    pub kind: Kind,
    pub workers: u32,
    pub origin: SocketAddr,
    /// Connections of a worker.
    pub connections: u32,
    /// Whether connections to the origin are kept.
    pub keep_upstream: bool,
    /// What it runs under, such as a profiler.
    pub wrapper: Vec<String>,
}

impl Setup {
    pub fn new(kind: Kind, workers: u32, origin: SocketAddr) -> Self {
        Self {
            kind,
            workers,
            origin,
            connections: lab::FILES,
            keep_upstream: false,
            wrapper: Vec::new(),
        }
    }
}

pub struct Nginx {
    kind: Kind,
    workers: Vec<u32>,
    address: SocketAddr,
    /// The operator's connection.
    operator: Client,
    server: Server,
}

/// What `status` says of an app.
#[derive(Debug, Deserialize)]
struct Status {
    held: u32,
}

impl Nginx {
    pub fn start(lab: &Lab, setup: &Setup) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = free_address()?;
        let configuration = configuration(lab, setup, address.port())?;
        fs::write(folder.path().join("nginx.conf"), configuration)?;
        fs::write(folder.path().join("gate.lua"), SCRIPT)?;
        let mut command = command(lab, setup)?;
        command.arg("-p").arg(folder.path()).args(["-c", "nginx.conf", "-e", "error.log"]);
        let mut server = Server::spawn(folder, &mut command)?;
        let count = setup.workers as usize;
        server.wait_for(address, |master| {
            process::children(master).is_ok_and(|workers| workers.len() == count)
        })?;
        let workers = process::children(server.child.id())?;
        let operator = Client::connect(address)?;
        Ok(Self { kind: setup.kind, workers, address, operator, server })
    }

    fn ask(&mut self, path: &str) -> Result<String> {
        let answer = self.operator.get(path)?;
        ensure!(answer.status == 200, "{path}: {} {}", answer.status, answer.body.trim());
        Ok(answer.body)
    }

    /// Requests that have been read and not answered, this one aside.
    fn under_way(&mut self) -> Result<u32> {
        let answer = self.ask("/connections")?;
        let mut words = answer.split_whitespace().skip_while(|word| *word != "Writing:");
        let writing: u32 = words.nth(1).context("no number of connections")?.parse()?;
        Ok(writing - 1)
    }

    /// What it logged that it should not have.
    fn complaints(&self) -> Result<Vec<String>> {
        let log = fs::read_to_string(self.server.folder.path().join("error.log"))?;
        let grave = |line: &&str| ["[alert]", "[crit]", "[emerg]"].iter().any(|l| line.contains(l));
        Ok(log.lines().filter(grave).map(str::to_owned).collect())
    }
}

impl System for Nginx {
    fn addresses(&self) -> Vec<SocketAddr> {
        hosts().map(|host| SocketAddr::from((host, self.address.port()))).collect()
    }

    fn processes(&self) -> Vec<u32> {
        let mut processes = self.workers.clone();
        processes.push(self.server.child.id());
        processes
    }

    fn workers(&self) -> Vec<u32> {
        self.workers.clone()
    }

    fn pause(&mut self, _origin: &mut Origin) -> Result<()> {
        match self.kind {
            Kind::Intermission => self.call("enable").map(drop),
            Kind::Lua | Kind::LuaInOrder => self.ask("/gate/pause").map(drop),
            _ => Ok(()),
        }
    }

    fn resume(&mut self, _origin: &mut Origin) -> Result<()> {
        match self.kind {
            Kind::Intermission => self.call("disable").map(drop),
            Kind::Lua | Kind::LuaInOrder => self.ask("/gate/resume").map(drop),
            _ => Ok(()),
        }
    }

    fn held(&mut self) -> Result<Option<u32>> {
        Ok(Some(match self.kind {
            Kind::Intermission => {
                serde_json::from_str::<Status>(&self.call("status?format=json")?)?.held
            }
            Kind::Lua | Kind::LuaInOrder => self.ask("/gate/held")?.trim().parse()?,
            _ => self.under_way()?,
        }))
    }

    fn call(&mut self, call: &str) -> Result<String> {
        self.ask(&format!("/intermission/{call}"))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let complaints = self.complaints().unwrap_or_default();
        for line in complaints.iter().take(5) {
            eprintln!("nginx: {line}");
        }
        if complaints.len() > 5 {
            eprintln!("nginx: and {} more such lines", complaints.len() - 5);
        }
    }
}

fn command(lab: &Lab, setup: &Setup) -> Result<Command> {
    let mut words = setup.wrapper.iter().map(AsRef::as_ref).collect::<Vec<&Path>>();
    words.push(&lab.nginx);
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    if let (Kind::Lua | Kind::LuaInOrder, Some(tools)) = (setup.kind, &lab.tools) {
        command.env("LD_LIBRARY_PATH", libraries(tools)?.join(":"));
    }
    Ok(command)
}

/// What differs between the kinds of nginx.
#[derive(Default)]
struct Parts {
    main: String,
    http: String,
    gate: &'static str,
    control: Option<&'static str>,
    server: &'static str,
}

impl Parts {
    fn of(kind: Kind, lab: &Lab) -> Result<Self> {
        Ok(match kind {
            Kind::LimitReq => Self {
                http: "limit_req_zone $scheme zone=hold:1m rate=1r/m;".to_owned(),
                gate: "limit_req zone=hold burst=100000;",
                ..Self::default()
            },
            Kind::Intermission => {
                let module = lab.module.as_deref().context("the module has not been built")?;
                Self {
                    main: format!("load_module {};\n", module.display()),
                    gate: "intermission on;",
                    control: Some("intermission_control;"),
                    ..Self::default()
                }
            }
            Kind::Lua => Self::lua(lab, "set $gate_order no; access_by_lua_file gate.lua;")?,
            Kind::LuaInOrder => {
                Self::lua(lab, "set $gate_order kept; access_by_lua_file gate.lua;")?
            }
            _ => Self::default(),
        })
    }

    fn lua(lab: &Lab, gate: &'static str) -> Result<Self> {
        let tools = lab.tools.as_deref().context("the other tools have not been unpacked")?;
        let load = |module| {
            let file = tools.join("usr/lib/nginx/modules").join(module);
            format!("load_module {};\n", file.display())
        };
        let packages = tools.join("usr/share/lua/5.1/?.lua");
        let prepare = "for name, value in pairs({ held = 0, last = 0, turn = 1 }) do \
                       ngx.shared.gate:set(name, value) end";
        Ok(Self {
            main: load("ndk_http_module.so") + &load("ngx_http_lua_module.so"),
            http: format!(
                "lua_package_path '{};;';\n    lua_shared_dict gate 10m;\n    \
                 lua_check_client_abort on;\n    lua_max_pending_timers 100000;\n    \
                 init_by_lua_block {{ {prepare} }}",
                packages.display()
            ),
            gate,
            control: None,
            server: "location = /gate/pause { content_by_lua_block {
                ngx.shared.gate:set('paused', true) ngx.say('paused') } }
        location = /gate/resume { content_by_lua_block {
                ngx.shared.gate:delete('paused') ngx.say('resumed') } }
        location = /gate/held { content_by_lua_block {
                ngx.say(ngx.shared.gate:get('held')) } }",
        })
    }
}

fn configuration(lab: &Lab, setup: &Setup, port: u16) -> Result<String> {
    let mut parts = Parts::of(setup.kind, lab)?;
    if rustix::process::geteuid().is_root() {
        parts.main.push_str("user root;\n");
    }
    if let Some(masks) = lab.cores.masks(setup.workers) {
        parts.main.push_str(&format!("worker_cpu_affinity{masks};\n"));
    }
    let (upstream, proxy) = if setup.keep_upstream {
        ("keepalive 64;", "proxy_http_version 1.1;\n            proxy_set_header Connection \"\";")
    } else {
        ("", "")
    };
    Ok(fill(
        TEMPLATE,
        &[
            ("main", &parts.main),
            ("workers", &setup.workers.to_string()),
            ("connections", &setup.connections.to_string()),
            ("http", &parts.http),
            ("origin", &setup.origin.to_string()),
            ("upstream", upstream),
            ("listen", &listen(setup.workers, port)),
            ("gate", parts.gate),
            ("proxy", proxy),
            // A place for control on both sides, as finding one's place has its cost, too.
            ("control", parts.control.unwrap_or("return 404;")),
            ("server", parts.server),
        ],
    ))
}

/// Each worker has its own queue of new connections, so that all get their share.
fn listen(workers: u32, port: u16) -> String {
    let share = if workers > 1 { " reuseport" } else { "" };
    let line = |host: [u8; 4]| {
        let host = SocketAddr::from((host, port));
        format!("listen {host} backlog=65535{share};\n        ")
    };
    hosts().map(line).collect()
}

fn hosts() -> impl Iterator<Item = [u8; 4]> {
    (1..=HOSTS).map(|last| [127, 0, 0, last])
}
