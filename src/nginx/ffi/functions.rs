//! Functions of nginx's that ask for no more than what the types of their parameters say, as these are
//! declared here: that what is passed lives, and what comes of it lives as long.

use core::ffi::c_void;
use core::ptr::NonNull;

use nginx_sys::{
    ngx_atomic_t, ngx_conf_t, ngx_connection_t, ngx_cycle_t, ngx_event_t, ngx_http_request_t,
    ngx_http_variable_t, ngx_int_t, ngx_log_t, ngx_pool_cleanup_t, ngx_pool_t, ngx_shm_zone_t,
    ngx_shmtx_t, ngx_slab_pool_t, ngx_tm_t, ngx_uint_t,
};

use super::living::Living;
use super::text::{Predicates, Template, Text};

unsafe extern "C" {
    // Memory. None is had where there is no more.
    pub safe fn ngx_create_pool(
        size: usize,
        log: *mut ngx_log_t,
    ) -> Option<Living<'static, ngx_pool_t>>;
    pub safe fn ngx_palloc(pool: Living<'_, ngx_pool_t>, size: usize) -> Option<NonNull<c_void>>;
    pub safe fn ngx_pnalloc(pool: Living<'_, ngx_pool_t>, size: usize) -> Option<NonNull<c_void>>;
    pub safe fn ngx_pool_cleanup_add<'p>(
        pool: Living<'p, ngx_pool_t>,
        size: usize,
    ) -> Option<Living<'p, ngx_pool_cleanup_t>>;
    pub safe fn ngx_slab_alloc(
        slab: Living<'_, ngx_slab_pool_t>,
        size: usize,
    ) -> Option<NonNull<c_void>>;

    // What keeps processes apart.
    pub safe fn ngx_rwlock_wlock(lock: Living<'_, ngx_atomic_t>);
    pub safe fn ngx_rwlock_unlock(lock: Living<'_, ngx_atomic_t>);
    pub safe fn ngx_shmtx_lock(mutex: Living<'_, ngx_shmtx_t>);
    pub safe fn ngx_shmtx_trylock(mutex: Living<'_, ngx_shmtx_t>) -> ngx_uint_t;
    pub safe fn ngx_shmtx_unlock(mutex: Living<'_, ngx_shmtx_t>);

    // Configuration. A directory is put before a name, in the pool of the cycle.
    pub safe fn ngx_conf_full_name<'c>(
        cycle: Living<'c, ngx_cycle_t>,
        name: &mut Text<'c>,
        beside_configuration: ngx_uint_t,
    ) -> ngx_int_t;
    pub safe fn ngx_parse_size(text: &mut Text<'_>) -> isize;
    pub safe fn ngx_shared_memory_add<'c>(
        cf: Living<'c, ngx_conf_t>,
        name: &mut Text<'static>,
        size: usize,
        tag: *mut c_void,
    ) -> Option<Living<'c, ngx_shm_zone_t>>;
    pub safe fn ngx_http_add_variable<'c>(
        cf: Living<'c, ngx_conf_t>,
        name: &mut Text<'static>,
        flags: ngx_uint_t,
    ) -> Option<Living<'c, ngx_http_variable_t>>;

    // Connections, and what happens on them.
    pub safe fn ngx_get_connection(
        descriptor: i32,
        log: *mut ngx_log_t,
    ) -> Option<Living<'static, ngx_connection_t>>;
    pub safe fn ngx_free_connection(connection: Living<'static, ngx_connection_t>);
    pub safe fn ngx_handle_read_event(
        event: Living<'_, ngx_event_t>,
        flags: ngx_uint_t,
    ) -> ngx_int_t;
    pub safe fn ngx_handle_write_event(event: Living<'_, ngx_event_t>, least: usize) -> ngx_int_t;

    // The value of a template that belongs to the request's configuration: a part of that, or in the request's pool.
    pub safe fn ngx_http_complex_value<'r>(
        request: Living<'r, ngx_http_request_t>,
        template: Template,
        value: &mut Text<'r>,
    ) -> ngx_int_t;

    pub safe fn ngx_http_test_predicates(
        request: Living<'_, ngx_http_request_t>,
        predicates: Predicates,
    ) -> ngx_int_t;

    // Requests. What is not wanted of a body is read, and counts as one more who is not through with it.
    pub safe fn ngx_http_send_header(request: Living<'_, ngx_http_request_t>) -> ngx_int_t;
    pub safe fn ngx_http_discard_request_body(request: Living<'_, ngx_http_request_t>)
    -> ngx_int_t;

    pub safe fn ngx_gmtime(seconds: i64, broken_down: &mut ngx_tm_t);
}
