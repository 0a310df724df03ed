//! The directives: the table that nginx reads, and what is said of bad values.

mod location;
mod main;

use core::ffi::{c_char, c_void};
use core::mem::offset_of;
use core::ptr;
use core::time::Duration;

use nginx_sys::{
    NGX_CONF_1MORE, NGX_CONF_FLAG, NGX_CONF_NOARGS, NGX_CONF_TAKE1, NGX_CONF_TAKE12,
    NGX_HTTP_LOC_CONF, NGX_HTTP_LOC_CONF_OFFSET, NGX_HTTP_MAIN_CONF, NGX_HTTP_MAIN_CONF_OFFSET,
    NGX_HTTP_SRV_CONF, NGX_LOG_EMERG, ngx_command_t, ngx_conf_t, ngx_http_set_predicate_slot,
    ngx_str_t, ngx_uint_t,
};
use ngx::core::NGX_CONF_ERROR;
use ngx::ngx_string;

use crate::control::args::shown;
use crate::control::values;
use crate::nginx::conf::LocConf;
use crate::nginx::ffi::boundary::guarded;
use crate::nginx::ffi::configuring::Configuring;

const PLACES: u32 = NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF;

/// A directive as it stands in the configuration.
struct Directive<'c> {
    cf: Configuring<'c>,
    name: &'c [u8],
    values: Vec<&'c [u8]>,
}

/// Takes what a directive says into the configuration, or says what is wrong with it.
enum Setter {
    /// That of `http`, which it finds itself.
    Main(fn(&mut Directive<'_>) -> Result<(), String>),
    /// That of the place at hand.
    Location(fn(&mut Directive<'_>, &mut LocConf) -> Result<(), String>),
}

use Setter::{Location, Main};

impl<'c> Directive<'c> {
    fn value(&self) -> &'c [u8] {
        self.values.first().copied().unwrap_or_default()
    }

    /// Takes a value for a setting that may be given once.
    fn once<T>(setting: &mut Option<T>, value: T) -> Result<(), String> {
        match setting.replace(value) {
            Some(_) => Err("is duplicate".to_owned()),
            None => Ok(()),
        }
    }

    /// Reports what is wrong with it.
    fn complain(&self, problem: &str) {
        let (cf, name) = (self.cf.as_ptr(), shown(self.name));
        let given = self.values.iter().map(|value| shown(value)).collect::<Vec<_>>().join(" ");
        if problem == "is duplicate" {
            ngx::ngx_conf_log_error!(NGX_LOG_EMERG, cf, "\"{name}\" directive is duplicate");
        } else {
            ngx::ngx_conf_log_error!(
                NGX_LOG_EMERG,
                cf,
                "invalid value \"{given}\" in \"{name}\": {problem}"
            );
        }
    }

    fn flag(&self) -> Result<bool, String> {
        match self.value() {
            b"on" => Ok(true),
            b"off" => Ok(false),
            _ => Err("expected \"on\" or \"off\"".to_owned()),
        }
    }

    /// How often something is looked at.
    fn interval(&self) -> Result<Duration, String> {
        self.time(Duration::from_millis(10), "a time from 10ms to 1d, such as 250ms")
    }

    fn time(&self, least: Duration, expected: &str) -> Result<Duration, String> {
        let time = values::time(self.value());
        time.filter(|time| *time >= least && *time <= values::DAY)
            .ok_or_else(|| format!("expected {expected}"))
    }
}

/// Called by nginx for each of the directives but `intermission_bypass`.
unsafe extern "C" fn read(
    cf: *mut ngx_conf_t,
    command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes its configuration while it reads a directive, and one of the commands below,
    // which has a setter.
    let (cf, setter) = unsafe { (Configuring::new(cf), &*(*command).post.cast::<Setter>()) };
    guarded(NGX_CONF_ERROR.cast(), || {
        let mut directive = Directive { name: cf.name(), values: cf.arguments(), cf };
        let set = match setter {
            Main(set) => set(&mut directive),
            // SAFETY: such a command is passed what the module has at the place at hand.
            Location(set) => set(&mut directive, unsafe { &mut *conf.cast::<LocConf>() }),
        };
        let Err(problem) = set else { return ptr::null_mut() };
        directive.complain(&problem);
        NGX_CONF_ERROR.cast()
    })
}

const COUNT: usize = 22;

/// nginx takes commands that it could write to, though it does not.
#[repr(transparent)]
pub struct Commands(pub [ngx_command_t; COUNT + 1]);

// SAFETY: nobody writes to them.
unsafe impl Sync for Commands {}

const fn command(
    name: ngx_str_t,
    places: u32,
    arguments: u32,
    setter: &'static Setter,
) -> ngx_command_t {
    ngx_command_t {
        set: Some(read),
        conf: match setter {
            Main(_) => NGX_HTTP_MAIN_CONF_OFFSET,
            Location(_) => NGX_HTTP_LOC_CONF_OFFSET,
        },
        post: ptr::from_ref(setter).cast_mut().cast(),
        ..named(name, places, arguments)
    }
}

const fn named(name: ngx_str_t, places: u32, arguments: u32) -> ngx_command_t {
    ngx_command_t { name, type_: (places | arguments) as ngx_uint_t, ..ngx_command_t::empty() }
}

pub static COMMANDS: Commands = Commands([
    command(ngx_string!("intermission"), PLACES, NGX_CONF_FLAG, &Location(location::enabled)),
    command(
        ngx_string!("intermission_zone"),
        NGX_HTTP_MAIN_CONF,
        NGX_CONF_TAKE1,
        &Main(main::zone),
    ),
    command(
        ngx_string!("intermission_state_file"),
        NGX_HTTP_MAIN_CONF,
        NGX_CONF_TAKE1,
        &Main(main::state_file),
    ),
    command(
        ngx_string!("intermission_app_name"),
        PLACES,
        NGX_CONF_TAKE1,
        &Location(location::app_name),
    ),
    command(
        ngx_string!("intermission_max_time"),
        PLACES,
        NGX_CONF_TAKE1,
        &Location(location::max_time),
    ),
    command(
        ngx_string!("intermission_timeout_action"),
        PLACES,
        NGX_CONF_TAKE1,
        &Location(location::timeout_action),
    ),
    command(
        ngx_string!("intermission_health_check_path"),
        PLACES,
        NGX_CONF_1MORE,
        &Location(location::health_check_path),
    ),
    command(
        ngx_string!("intermission_privileged_user_agent"),
        PLACES,
        NGX_CONF_1MORE,
        &Location(location::agent),
    ),
    ngx_command_t {
        set: Some(ngx_http_set_predicate_slot),
        conf: NGX_HTTP_LOC_CONF_OFFSET,
        offset: offset_of!(LocConf, bypass),
        ..named(ngx_string!("intermission_bypass"), PLACES, NGX_CONF_1MORE)
    },
    command(
        ngx_string!("intermission_max_held"),
        PLACES,
        NGX_CONF_TAKE1,
        &Location(location::max_held),
    ),
    command(
        ngx_string!("intermission_retry_after"),
        PLACES,
        NGX_CONF_TAKE1,
        &Location(location::retry_after),
    ),
    command(
        ngx_string!("intermission_read_body"),
        PLACES,
        NGX_CONF_TAKE1,
        &Location(location::read_body),
    ),
    command(
        ngx_string!("intermission_interval"),
        PLACES,
        NGX_CONF_TAKE1,
        &Location(location::interval),
    ),
    command(
        ngx_string!("intermission_release_rate"),
        PLACES,
        NGX_CONF_TAKE12,
        &Location(location::release_rate),
    ),
    command(
        ngx_string!("intermission_release_concurrency"),
        PLACES,
        NGX_CONF_TAKE1,
        &Location(location::release_concurrency),
    ),
    command(
        ngx_string!("intermission_release_timeout"),
        PLACES,
        NGX_CONF_TAKE1,
        &Location(location::release_timeout),
    ),
    command(ngx_string!("intermission_auto"), PLACES, NGX_CONF_FLAG, &Location(location::auto)),
    command(
        ngx_string!("intermission_auto_max_time"),
        PLACES,
        NGX_CONF_TAKE1,
        &Location(location::auto_max_time),
    ),
    command(
        ngx_string!("intermission_auto_interval"),
        PLACES,
        NGX_CONF_TAKE1,
        &Location(location::auto_interval),
    ),
    command(
        ngx_string!("intermission_auto_probe"),
        PLACES,
        NGX_CONF_TAKE1,
        &Location(location::auto_probe),
    ),
    command(
        ngx_string!("intermission_auto_replay"),
        PLACES,
        NGX_CONF_TAKE1,
        &Location(location::auto_replay),
    ),
    command(
        ngx_string!("intermission_control"),
        NGX_HTTP_LOC_CONF,
        NGX_CONF_NOARGS | NGX_CONF_TAKE1,
        &Location(location::control),
    ),
    ngx_command_t::empty(),
]);
