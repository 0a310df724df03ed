# What objs/Makefile needs to build this module; nginx's configure reads it behind ./config.
#
# Where the environment does not say something else, cargo is `cargo`, and builds in objs/intermission. It is run each
# time, as it knows best what is up to date.

intermission_so=$NGX_OBJS/ngx_http_intermission_module$ngx_modext

case $NGX_MODULES_PATH in
    /*) intermission_modules=$NGX_MODULES_PATH ;;
    *) intermission_modules=$NGX_PREFIX/$NGX_MODULES_PATH ;;
esac

cat <<END >>"$NGX_MAKEFILE"

modules:	$intermission_so

.PHONY:	$intermission_so install-intermission

$intermission_so:
	set -e; \\
	export NGINX_SOURCE_DIR="\$\$PWD"; \\
	export NGINX_BUILD_DIR="\$\$(cd $NGX_OBJS && pwd)"; \\
	export CARGO_TARGET_DIR="\$\${CARGO_TARGET_DIR:-\$\$NGINX_BUILD_DIR/intermission}"; \\
	. '$ngx_addon_dir/scripts/lib/remap.sh'; remap_paths '$ngx_addon_dir'; \\
	${NGX_CARGO:-cargo} build --release --locked --manifest-path '$ngx_addon_dir/Cargo.toml'; \\
	cp "\$\$CARGO_TARGET_DIR/release/libngx_http_intermission_module.so" \$@

install:	install-intermission

install-intermission:	$intermission_so
	mkdir -p '\$(DESTDIR)$intermission_modules'
	install -m 644 $intermission_so '\$(DESTDIR)$intermission_modules/'

END
