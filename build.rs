//! Binds the constants of nginx that the crate `nginx-sys` leaves out, passes its findings on, and stops where its bindings
//! are not what C has.

use std::env;
use std::path::PathBuf;

const HEADER: &str = "src/nginx/ffi/constants.h";

fn main() {
    println!("cargo:rerun-if-changed={HEADER}");
    println!("cargo:rerun-if-changed=build.rs");
    features();
    layout();
    constants();
}

/// A field that is read at the wrong place gives no error, but another field's value.
fn layout() {
    let wrong = intermission_layout::wrong();
    for field in &wrong {
        println!("cargo::error=nginx-sys has {field}");
    }
    if !wrong.is_empty() {
        println!(
            "cargo::error=the bindings made from these headers of nginx are wrong, and a module built with them would read \
             and write the wrong fields. See docs/nginx-sys-bitfields.md."
        );
    }
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
    // nginx-sys 0.5 means this to be DEP_NGINX_CFLAGS.
    let defines = env::var("DEP_NGINX_METADATA").unwrap_or_default();
    let defines = defines.strip_prefix("cflags=").unwrap_or_default();
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    bindgen::Builder::default()
        .header(HEADER)
        .clang_args(includes)
        .clang_args(defines.split_whitespace())
        .allowlist_var("INTERMISSION_.*")
        .use_core()
        .generate()
        .expect("nginx's headers can be read")
        .write_to_file(out.join("constants.rs"))
        .expect("OUT_DIR can be written to");
}
