//! Binds the constants of nginx that the crate `nginx-sys` leaves out, and passes its findings on.

use std::env;
use std::path::PathBuf;

const HEADER: &str = "src/nginx/ffi/constants.h";

fn main() {
    println!("cargo:rerun-if-changed={HEADER}");
    println!("cargo:rerun-if-changed=build.rs");
    features();
    constants();
}

/// `cfg(ngx_feature = "...")` says how nginx is configured.
fn features() {
    let known = env::var("DEP_NGINX_FEATURES_CHECK").unwrap_or_else(|_| "any()".to_owned());
    println!("cargo:rustc-check-cfg=cfg(ngx_feature, values({known}))");
    for feature in env::var("DEP_NGINX_FEATURES").unwrap_or_default().split(',') {
        println!("cargo:rustc-cfg=ngx_feature=\"{feature}\"");
    }
}

/// Macros over the operating system's enumerations, which bindgen only sees through a variable.
fn constants() {
    let include = env::var_os("DEP_NGINX_INCLUDE").expect("nginx-sys names nginx's headers");
    let includes = env::split_paths(&include).map(|path| format!("-I{}", path.display()));
    let cflags = env::var("DEP_NGINX_CFLAGS").unwrap_or_default();
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    bindgen::Builder::default()
        .header(HEADER)
        .clang_args(includes)
        .clang_args(cflags.split_whitespace())
        .allowlist_var("INTERMISSION_.*")
        .use_core()
        .generate()
        .expect("nginx's headers can be read")
        .write_to_file(out.join("constants.rs"))
        .expect("OUT_DIR can be written to");
}
