//! `$intermission_status`, `$intermission_wait_time` and `$intermission_app`.

use crate::nginx::conf::app::app_name;
use crate::nginx::ffi::clock;
use crate::nginx::ffi::configuring::{Configure, Configuring};
use crate::nginx::ffi::request::Request;
use crate::nginx::ffi::variable::Variable;
use crate::nginx::host::Passage;

/// Before nginx reads its `http` block.
pub struct Add;

impl Configure for Add {
    fn configure(cf: &mut Configuring<'_>) -> Option<()> {
        cf.add_variable::<Status>("intermission_status")?;
        cf.add_variable::<WaitTime>("intermission_wait_time")?;
        cf.add_variable::<App>("intermission_app")
    }
}

struct Status;

impl Variable for Status {
    fn text(request: Request<'_>) -> Option<Vec<u8>> {
        Some(Passage::find(request.main())?.logged_status().name().into())
    }
}

struct WaitTime;

impl Variable for WaitTime {
    fn text(request: Request<'_>) -> Option<Vec<u8>> {
        let waited = Passage::find(request.main())?.waited(clock::now())?;
        Some(format!("{}.{:03}", waited.as_secs(), waited.subsec_millis()).into())
    }
}

struct App;

impl Variable for App {
    fn text(request: Request<'_>) -> Option<Vec<u8>> {
        app_name(request.main())
    }
}
