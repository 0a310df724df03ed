//! Locations of a configuration.

use nginx_sys::{NGX_HTTP_SATISFY_ANY, ngx_http_core_loc_conf_t, ngx_resolver_t};

use super::living::{Living, reaches};

/// What nginx's core module has of a location.
pub type Location<'c> = Living<'c, ngx_http_core_loc_conf_t>;

reaches!(Location<'c> {
    /// In the pool of the configuration.
    pub fn name() -> &'c [u8] = name;

    /// As the location: it knows no server if there is no directive for it.
    pub(super) fn resolver() -> Option<Living<'c, ngx_resolver_t>> = resolver;
});

impl Location<'_> {
    /// Whether it is none of the configuration's own, but one that nginx makes of `if` and the like.
    pub fn is_nameless(self) -> bool {
        self.see(|it| it.noname() != 0)
    }

    /// Whether one rule that grants access is enough.
    pub fn satisfies_any(self) -> bool {
        self.see(|it| it.satisfy == NGX_HTTP_SATISFY_ANY as usize)
    }

    /// Whether something answers there.
    pub fn has_handler(self) -> bool {
        self.see(|it| it.handler.is_some())
    }
}
