//! Proves that nginx-sys reads and writes the fields of nginx's structures where C has them, in the
//! very headers that it was built for. `build.rs` has asked the C compiler; [`wrong`] tries the
//! bindings, all of them.

#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

use std::mem::{offset_of, size_of};
use std::slice;

use nginx_sys::*;

/// What is not in the bindings as it is in C, a line each.
pub fn wrong() -> Vec<String> {
    let fields = FIELDS.iter().filter_map(Field::wrong);
    fields.chain(BITS.iter().filter_map(|bits| bits())).collect()
}

/// At which byte a field begins, or a structure ends.
struct Field {
    name: &'static str,
    ours: usize,
    in_c: usize,
}

impl Field {
    fn wrong(&self) -> Option<String> {
        let Self { name, ours, in_c } = self;
        (ours != in_c).then(|| format!("{name}: byte {ours}, in C {in_c}"))
    }
}

macro_rules! structure {
    ($structure:ident, $size:literal) => {
        Field {
            name: concat!("the end of ", stringify!($structure)),
            ours: size_of::<$structure>(),
            in_c: $size,
        }
    };
}

macro_rules! field {
    ($structure:ident, $field:ident, $offset:literal) => {
        Field {
            name: concat!(stringify!($structure), ".", stringify!($field)),
            ours: offset_of!($structure, $field),
            in_c: $offset,
        }
    };
}

/// What is wrong with a bit field, if anything is.
type Trial = fn() -> Option<String>;

macro_rules! bits {
    ($structure:ident, $get:ident, $set:ident, [$($bit:expr),*]) => {
        || {
            // SAFETY: nginx's structures are numbers and pointers, which may be null.
            let mut it: $structure = unsafe { std::mem::zeroed() };
            it.$set(Ones::ones(64));
            let in_c = [$($bit),*];
            let same = it.$get().has_ones(in_c.len());
            let name = concat!(stringify!($structure), ".", stringify!($get));
            compare_bits(name, same, &set_bits(image(&it)), &in_c)
        }
    };
}

/// A bit by its byte and its place there.
type Bit = (usize, u8);

fn compare_bits(name: &str, same: bool, ours: &[Bit], in_c: &[Bit]) -> Option<String> {
    let shown = |bits: &[Bit]| {
        let bits = bits.iter().map(|(byte, bit)| format!(" {byte}.{bit}"));
        bits.collect::<String>()
    };
    (!same || ours != in_c)
        .then(|| format!("{name}: byte and bit{}, in C{}", shown(ours), shown(in_c)))
}

fn set_bits(image: &[u8]) -> Vec<Bit> {
    let bits = |byte| (0..8).map(move |bit| (byte, bit));
    (0..image.len()).flat_map(bits).filter(|(byte, bit)| image[*byte] >> bit & 1 == 1).collect()
}

fn image<S>(it: &S) -> &[u8] {
    // SAFETY: all of it was zeroed, and only a bit field was written since.
    unsafe { slice::from_raw_parts((&raw const *it).cast(), size_of::<S>()) }
}

/// What a bit field's accessors take and give: the value of so many bits that are all set.
trait Ones {
    fn ones(count: u32) -> Self;
    fn has_ones(self, count: usize) -> bool;
}

macro_rules! ones {
    ($($unsigned:ty, $signed:ty;)*) => {$(
        impl Ones for $unsigned {
            fn ones(count: u32) -> Self {
                Self::MAX >> Self::BITS.saturating_sub(count)
            }
            fn has_ones(self, count: usize) -> bool {
                self.count_ones() as usize == count && self.trailing_ones() as usize == count
            }
        }

        /// Whether the bits above have the sign as well is not asked: C has it there, bindgen has not.
        impl Ones for $signed {
            fn ones(_: u32) -> Self {
                -1
            }
            fn has_ones(self, count: usize) -> bool {
                self.trailing_ones() as usize >= count
            }
        }
    )*};
}

ones!(u8, i8; u16, i16; u32, i32; u64, i64;);

include!(concat!(env!("OUT_DIR"), "/layout.rs"));
