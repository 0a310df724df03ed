//! bindgen 0.73 for nginx-sys 0.5, which asks for 0.72. That one has some of nginx's bit fields in the wrong place, as
//! docs/nginx-sys-bitfields.md tells. It goes when there is an nginx-sys that asks for a later one.

pub use ::bindgen::*;
