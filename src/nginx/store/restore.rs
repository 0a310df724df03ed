//! What a former nginx left in the state file.

use std::path::Path;

use nginx_sys::{NGX_LOG_ERR, NGX_LOG_NOTICE, ngx_log_t};

use super::file::StateFile;
use super::{Clocks, say};
use crate::agreement;
use crate::control::args::shown;
use crate::nginx::zone::Zone;
use crate::shm::Full;
use crate::state_file::SavedApp;

/// Restores it into a zone that is new. The path is absolute.
pub fn load(path: &Path, zone: &Zone, log: *mut ngx_log_t) -> Result<(), String> {
    let file = StateFile::new(path.to_owned());
    let say = |level: u32, line: &str| say(&file, log, level, line);
    match file.read() {
        Ok(None) => say(NGX_LOG_NOTICE, "is not there yet: all apps are open"),
        Err(problem) => {
            let line = format!("{problem}: all apps are open, also those that were paused");
            say(NGX_LOG_ERR, &line);
        }
        Ok(Some(saved)) => {
            for app in &saved.apps {
                say(NGX_LOG_NOTICE, &restore(&file, zone, app)?);
            }
            zone.set_serial(saved.serial);
        }
    }
    Ok(())
}

/// The file becomes that of an nginx that runs: what it says is of an earlier day. The path is absolute.
pub fn supersede(path: &Path, zone: &Zone) {
    if let Ok(Some(saved)) = StateFile::new(path.to_owned()).read() {
        zone.set_serial(zone.serial().max(saved.serial));
    }
}

/// Restores an app, and says so.
fn restore(file: &StateFile, zone: &Zone, saved: &SavedApp) -> Result<String, String> {
    let (name, was) = (shown(&saved.name), saved.state.name());
    match agreement::restore::<Clocks, _>(zone, saved) {
        Ok(true) => Ok(format!("says that app \"{name}\" is {was}")),
        Ok(false) => Ok(format!("says that app \"{name}\" was {was}: by now it is open")),
        Err(Full) => Err(format!(
            "intermission: state file {} has more apps than the zone has room for: enlarge \
             intermission_zone",
            file.shown()
        )),
    }
}
