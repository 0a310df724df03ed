/* What nginx-sys leaves out: macros whose values are not plain literals. */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

const ngx_int_t INTERMISSION_READ_EVENT = NGX_READ_EVENT;
const ngx_uint_t INTERMISSION_CLEAR_EVENT = NGX_CLEAR_EVENT;
