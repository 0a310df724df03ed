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

/// Where its connections come from, and go to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Whether those to the origin are kept, or each request makes its own.
    pub kept: bool,
    /// Whether several workers take new ones from one queue, as is nginx's default, or have one each
    /// (`reuseport`), so that all get their share.
    pub shared: bool,
}

pub struct Setup {
    pub kind: Kind,
    pub workers: u32,
    pub origin: SocketAddr,
    /// Connections that a worker may have.
    pub most: u32,
    pub connections: Connections,
    /// What it runs under, such as a profiler.
    pub wrapper: Vec<String>,
}

impl Setup {
    pub fn new(kind: Kind, workers: u32, origin: SocketAddr) -> Self {
        Self {
            kind,
            workers,
            origin,
            most: lab::FILES,
            connections: Connections::default(),
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
        hosts(self.address.port()).collect()
    }

    fn probed(&self) -> SocketAddr {
        probed(self.address.port())
    }

    fn processes(&self) -> Vec<u32> {
        let mut processes = self.workers.clone();
        processes.push(self.server.child.id());
        processes
    }

    fn workers(&self) -> Vec<u32> {
        self.workers.clone()
    }

    fn pause(&mut self, origin: &mut Origin) -> Result<()> {
        match self.kind {
            Kind::HeldByItself => origin.close().map(drop),
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
            Kind::Intermission | Kind::HeldByItself => {
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
            Kind::Intermission | Kind::HeldByItself => {
                let by_itself = "intermission on; intermission_auto on; \
                                 intermission_auto_interval 50ms;";
                let module = lab.module.as_deref().context("the module has not been built")?;
                Self {
                    main: format!("load_module {};\n", module.display()),
                    gate: if kind == Kind::HeldByItself { by_itself } else { "intermission on;" },
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
    let (upstream, proxy) = if setup.connections.kept {
        ("keepalive 64;", "proxy_http_version 1.1;\n            proxy_set_header Connection \"\";")
    } else {
        ("", "")
    };
    Ok(fill(
        TEMPLATE,
        &[
            ("main", &parts.main),
            ("workers", &setup.workers.to_string()),
            ("connections", &setup.most.to_string()),
            ("http", &parts.http),
            ("origin", &setup.origin.to_string()),
            ("upstream", upstream),
            ("listen", &listen(setup, port)),
            ("gate", parts.gate),
            ("proxy", proxy),
            // A place for control on both sides, as finding one's place has its cost, too.
            ("control", parts.control.unwrap_or("return 404;")),
            ("server", parts.server),
        ],
    ))
}

/// The one for the probe has a queue for each worker in any case.
fn listen(setup: &Setup, port: u16) -> String {
    let line = |host: SocketAddr, shared: bool| {
        let own = if setup.workers > 1 && !shared { " reuseport" } else { "" };
        format!("listen {host} backlog=65535{own};\n        ")
    };
    let lines = hosts(port).map(|host| line(host, setup.connections.shared));
    lines.chain([line(probed(port), false)]).collect()
}

fn hosts(port: u16) -> impl Iterator<Item = SocketAddr> {
    (1..=HOSTS).map(move |last| SocketAddr::from(([127, 0, 0, last], port)))
}

fn probed(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, HOSTS + 1], port))
}
