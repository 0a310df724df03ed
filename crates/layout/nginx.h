/* All of nginx that nginx-sys binds. */

#include <ngx_config.h>
#include <ngx_core.h>

#if __has_include(<ngx_http.h>)
#include <ngx_http.h>
#endif

#if __has_include(<ngx_stream.h>)
#include <ngx_stream.h>
#endif
