//! A request of nginx's, and what can be asked of it.

mod answer;
mod backend;
mod body;
mod entries;
mod headers;
mod hooks;

pub use answer::ErrorShown;
pub use entries::{Handler, Raw, Takes, Then, Turn, handler, raw, takes, turn};
pub(super) use hooks::{FORMERS, Former, at_each_place};
pub use hooks::{Finish, Output, Search, Sender, search_with};

use core::cell::Cell;
use core::ffi::c_void;

use nginx_sys::{
    NGX_OK, ngx_http_block_reading, ngx_http_request_empty_handler, ngx_http_request_t,
    ngx_http_test_reading, ngx_int_t, ngx_log_t,
};
use ngx::http::{HttpModuleLocationConf, NgxHttpCoreModule};

use super::client::Connection;
use super::functions::ngx_http_complex_value;
use super::identity::module;
use super::living::{Living, reaches};
use super::location::Location;
use super::pool::Pool;
use super::text::{Template, Text};

pub type Request<'r> = Living<'r, ngx_http_request_t>;

reaches!(Request<'r> {
    /// The request of the client's that it is, or is a part of: its subrequests are over before it is.
    pub fn main() -> Request<'r> = main;

    /// There until the request is over; in HTTP/2 and 3, what stands for one.
    pub fn connection() -> Connection<'r> = connection;

    /// There until the request is over.
    pub fn pool() -> Pool<'r> = pool;

    /// In its buffers, or in its pool after a redirect.
    pub fn uri() -> &'r [u8] = uri;

    /// As the `uri`.
    pub fn query() -> &'r [u8] = args;

    /// In its buffers.
    pub fn method() -> &'r [u8] = method_name;
});

impl<'r> Request<'r> {
    #[inline(always)]
    pub fn is_main(self) -> bool {
        self == self.main()
    }

    #[inline(always)]
    pub fn is_internal(self) -> bool {
        self.see(|it| it.internal() != 0)
    }

    /// Whether it may have forgotten the modules' contexts.
    #[inline(always)]
    pub fn was_redirected(self) -> bool {
        self.see(|it| it.internal() != 0 || it.filter_finalize() != 0)
    }

    /// Whether it runs behind an answer (`post_action`).
    pub fn is_afterthought(self) -> bool {
        self.see(|it| it.post_action() != 0)
    }

    /// Whether its answer is made by a handler of its location (`proxy_pass` and the like).
    pub fn has_content_handler(self) -> bool {
        self.see(|it| it.content_handler.is_some())
    }

    pub fn log(self) -> *mut ngx_log_t {
        self.connection().log()
    }

    /// The location that it is in.
    fn location(self) -> Option<Location<'r>> {
        self.see(NgxHttpCoreModule::location_conf_mut).map(Location::of)
    }

    /// The name of that location, if others can be below of it.
    pub fn prefix_location(self) -> Option<&'r [u8]> {
        let can_be_above = |it: &Location<'_>| it.see(|it| it.exact_match() == 0);
        self.location().filter(can_be_above).map(Location::name)
    }

    /// Where nginx keeps the module's context of the request.
    #[inline(always)]
    pub fn context(self) -> &'r Cell<*mut c_void> {
        // SAFETY: each request has a context for every module.
        unsafe { Cell::from_mut(&mut *self.see(|it| it.ctx).add(module().ctx_index)) }
    }

    /// The value of what stands, with variables in it, in the configuration that the request is served with.
    /// `None` if it cannot be had.
    pub fn evaluate(self, template: Template) -> Option<&'r [u8]> {
        let mut text = Text::of(&[]);
        let rc = ngx_http_complex_value(self, template, &mut text);
        (rc == NGX_OK as ngx_int_t).then(|| text.bytes())
    }

    /// It is not over before somebody has ended it once more.
    pub fn count_once_more(self) {
        self.main().change(|it| it.set_count(it.count() + 1));
    }

    /// What its client sends is looked at only to see whether it leaves.
    pub fn watch_client(self) {
        self.change(|it| it.read_event_handler = Some(ngx_http_test_reading));
    }

    /// Nothing happens when its client sends something.
    pub fn block_reading(self) {
        self.change(|it| it.read_event_handler = Some(ngx_http_block_reading));
    }

    /// `T` is called when its client can be written to, or its time is up, or it is run.
    pub fn on_write<T: Turn>(self) {
        self.change(|it| it.write_event_handler = Some(raw(turn::<T>)));
    }

    pub fn ignore_writing(self) {
        self.change(|it| it.write_event_handler = Some(ngx_http_request_empty_handler));
    }
}
