//! The module's configuration.

pub mod agent;
pub mod app;
pub mod coverage;

use core::ptr;
use core::time::Duration;
use std::path::PathBuf;

use nginx_sys::{NGX_DECLINED, ngx_array_t, ngx_int_t, ngx_module_t};
use ngx::http::{HttpModule, HttpModuleLocationConf, HttpModuleMainConf};

use crate::gate::policy::Policy;
use crate::nginx::ffi::configuring::Configuring;
use crate::nginx::ffi::cycle::Cycle;
use crate::nginx::ffi::functions::ngx_http_test_predicates;
use crate::nginx::ffi::identity::module;
use crate::nginx::ffi::location::Location;
use crate::nginx::ffi::memory::Memory;
use crate::nginx::ffi::request::Request;
use crate::nginx::ffi::text::Predicates;
use crate::nginx::zone::{Zone, attached};
use crate::worker::Place;
use agent::Agent;
use app::AppName;
use coverage::Coverage;

/// What has a configuration here.
pub struct Module;

impl HttpModule for Module {
    fn module() -> &'static ngx_module_t {
        module()
    }
}

// SAFETY: `create` makes one for the `http` block, and it stays as it is once that has been read.
unsafe impl HttpModuleMainConf for Module {
    type MainConf = MainConf;
}

// SAFETY: `create` makes one for each location, and it stays as it is once that has been read.
unsafe impl HttpModuleLocationConf for Module {
    type LocationConf = LocConf;
}

/// `http`: what there is once.
pub struct MainConf {
    memory: Option<Memory<'static>>,
    /// Whether a directive needs the zone, so that it is made though nobody gave its size.
    pub needs_zone: bool,
    /// Whether a gate stands in PRECONTENT.
    pub needs_precontent: bool,
    /// The apps whose names are no variables: workers remember where they are.
    pub names: Vec<Vec<u8>>,
    /// Where the state is kept.
    pub state_file: Option<PathBuf>,
    pub coverage: Coverage,
    /// Where requests are held by themselves.
    holding: Vec<Location<'static>>,
}

/// When the gate reads the body of a request that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadBody {
    Release,
    Held,
    Off,
}

/// What happens to a request that was held for as long as it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutAction {
    Pass,
    Status(u16),
}

/// How it is seen that a backend is back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Probe {
    /// By a connection that is made to it.
    #[default]
    Connect,
    /// By the first of those who are held, which is sent.
    Request,
    /// By a good answer to a GET of this path.
    Path(Vec<u8>),
}

/// Which requests are asked again that broke off on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replay {
    #[default]
    None,
    /// GET and HEAD, without a body.
    Get,
}

/// Who may use a control location.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    Local,
    Any,
}

/// Where the gate of a location stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// At the end of the ACCESS phase.
    Access,
    #[default]
    Nowhere,
    /// Behind the ACCESS phase: under `satisfy any` the first rule that grants access ends that phase, and what
    /// denies it is not final.
    Precontent,
}

/// How often one request may be sent to see whether its backend is there. Each time takes up to 9 KB of its
/// memory, which is given back when it is over.
pub const MOST_TRIES: u32 = 1000;

/// No app has so large a number.
pub const NO_NUMBER: usize = usize::MAX;

/// `location`: `None` is what is not said, and then inherited.
#[derive(Default)]
pub struct LocConf {
    /// What follows from the rest, once that is complete.
    pub standing: Standing,
    /// The place of the app's name in [`MainConf::names`], if it has one.
    pub number: usize,
    pub enabled: Option<bool>,
    pub app: Option<AppName>,
    pub max_time: Option<Duration>,
    pub timeout_action: Option<TimeoutAction>,
    pub health_check_paths: Option<Vec<Vec<u8>>>,
    pub agents: Option<Vec<Agent>>,
    /// Null where not said; nginx's own directive type.
    pub bypass: Bypass,
    pub max_held: Option<u32>,
    pub retry_after: Option<u64>,
    pub read_body: Option<ReadBody>,
    pub interval: Option<Duration>,
    pub rate: Option<(u32, u32)>,
    pub concurrency: Option<u32>,
    pub release_timeout: Option<Duration>,
    /// Whether requests are held that cannot be sent to their backend, for how long, and how often it is
    /// probed then.
    pub auto: Option<bool>,
    pub auto_max_time: Option<Duration>,
    pub auto_interval: Option<Duration>,
    pub auto_probe: Option<Probe>,
    pub auto_replay: Option<Replay>,
    /// Not inherited: a location is a control location or it is not.
    pub control: Option<Control>,
}

/// The values of `intermission_bypass`, as nginx's own directive for such lists keeps them.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Bypass(*mut ngx_array_t);

impl Default for Bypass {
    fn default() -> Self {
        Self(nginx_unset())
    }
}

impl Bypass {
    /// Whether one of the values is neither empty nor "0" for a request that is in the location.
    pub fn holds_for(self, request: Request<'_>) -> bool {
        let predicates = Predicates::of(self.0).filter(|_| self.0 != nginx_unset());
        let holds = |it| ngx_http_test_predicates(request, it) == NGX_DECLINED as ngx_int_t;
        predicates.is_some_and(holds)
    }
}

/// `NGX_CONF_UNSET_PTR`.
fn nginx_unset<T>() -> *mut T {
    ptr::without_provenance_mut(usize::MAX)
}

impl LocConf {
    /// The configuration of the location that a request is in.
    #[inline]
    pub fn of(request: Request<'_>) -> Option<&Self> {
        request.location_conf::<Module>()
    }

    pub fn max_time(&self) -> Duration {
        self.max_time.unwrap_or(Duration::from_secs(300))
    }

    pub fn timeout_action(&self) -> TimeoutAction {
        self.timeout_action.unwrap_or(TimeoutAction::Pass)
    }

    pub fn is_health_check(&self, path: &[u8]) -> bool {
        match &self.health_check_paths {
            None => path == b"/up",
            Some(paths) => paths.iter().any(|known| known == path),
        }
    }

    pub fn read_body(&self) -> ReadBody {
        self.read_body.unwrap_or(ReadBody::Release)
    }

    pub fn interval(&self) -> Duration {
        self.interval.unwrap_or(Duration::from_millis(250))
    }

    /// What the place says that a request comes to; `name` is the app's.
    pub fn place<'n>(&self, name: &'n [u8]) -> Place<'n> {
        let number = match self.app.unwrap_or(AppName::Fixed(0)) {
            AppName::Fixed(number) => Some(number),
            AppName::Evaluated(_) => None,
        };
        Place { name, number, max_held: self.max_held.unwrap_or(0), interval: self.interval() }
    }

    pub fn auto_max_time(&self) -> Duration {
        self.auto_max_time.unwrap_or(Duration::from_secs(30))
    }

    pub fn auto_interval(&self) -> Duration {
        self.auto_interval.unwrap_or(Duration::from_millis(250))
    }

    /// The release policy of a control location.
    pub fn policy(&self) -> Policy {
        let default = Policy::default();
        let (rate, burst) = self.rate.unwrap_or((default.rate, default.burst));
        Policy {
            rate,
            burst,
            concurrency: self.concurrency.unwrap_or(default.concurrency),
            timeout_ms: self.release_timeout.map_or(default.timeout_ms, |timeout| {
                u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)
            }),
        }
    }

    /// Takes over what is not said here.
    pub fn inherit(&mut self, outer: &Self) {
        fn or<T: Clone>(own: &mut Option<T>, outer: &Option<T>) {
            if own.is_none() {
                own.clone_from(outer);
            }
        }
        or(&mut self.enabled, &outer.enabled);
        or(&mut self.app, &outer.app);
        or(&mut self.max_time, &outer.max_time);
        or(&mut self.timeout_action, &outer.timeout_action);
        or(&mut self.health_check_paths, &outer.health_check_paths);
        or(&mut self.agents, &outer.agents);
        or(&mut self.max_held, &outer.max_held);
        or(&mut self.retry_after, &outer.retry_after);
        or(&mut self.read_body, &outer.read_body);
        or(&mut self.interval, &outer.interval);
        or(&mut self.auto, &outer.auto);
        or(&mut self.auto_max_time, &outer.auto_max_time);
        or(&mut self.auto_interval, &outer.auto_interval);
        or(&mut self.auto_probe, &outer.auto_probe);
        or(&mut self.auto_replay, &outer.auto_replay);
        or(&mut self.rate, &outer.rate);
        or(&mut self.concurrency, &outer.concurrency);
        or(&mut self.release_timeout, &outer.release_timeout);
        if self.bypass.0 == nginx_unset() {
            self.bypass = outer.bypass;
        }
    }
}

impl Default for MainConf {
    fn default() -> Self {
        Self {
            memory: None,
            needs_zone: false,
            needs_precontent: false,
            names: vec![b"default".to_vec()],
            state_file: None,
            coverage: Coverage::new(),
            holding: Vec::new(),
        }
    }
}

impl MainConf {
    /// That of the configuration that is read.
    pub fn of<'m>(cf: &'m mut Configuring<'_>) -> Option<&'m mut Self> {
        cf.main_conf_mut::<Module>()
    }

    /// That of a configuration that is taken up.
    pub fn of_cycle(cycle: Cycle<'_>) -> Option<&Self> {
        cycle.main_conf::<Module>()
    }

    /// That of the configuration that a request is served with.
    pub fn behind(request: Request<'_>) -> Option<&Self> {
        request.main_conf::<Module>()
    }

    /// The memory has been asked for in this configuration.
    pub fn set_memory(&mut self, memory: Memory<'static>) {
        self.memory = Some(memory);
    }

    /// The place is of this configuration.
    pub fn holds_by_itself(&mut self, place: Location<'static>) {
        self.holding.push(place);
    }

    /// Where requests are held by themselves.
    pub fn holding<'c>(cf: &mut Configuring<'c>) -> Vec<Location<'c>> {
        Self::of(cf).map(|main| main.holding.clone()).unwrap_or_default()
    }

    /// Whether memory for the zone has been asked for.
    pub fn has_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// The zone, if it has been made.
    pub fn zone(&self) -> Option<Zone> {
        attached(self.memory?)?.ok()
    }

    /// An app's name, or none where it has variables.
    pub fn name_of(&self, app: AppName) -> &[u8] {
        match app {
            AppName::Fixed(index) => self.names.get(index).map_or(&[], Vec::as_slice),
            AppName::Evaluated(_) => &[],
        }
    }

    /// The place of a name, which is added if it is new.
    pub fn intern(&mut self, name: &[u8]) -> usize {
        let known = self.names.iter().position(|known| known == name);
        known.unwrap_or_else(|| {
            self.names.push(name.to_vec());
            self.names.len() - 1
        })
    }
}
