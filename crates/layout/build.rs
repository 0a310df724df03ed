//! Asks the C compiler where the fields of nginx's structures are, all that nginx-sys binds.
//!
//! bindgen tells which structures and fields there are. What it says of where they are counts for nothing: a C program is
//! made of their names, and what that prints is what `src/lib.rs` compares the bindings with.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use syn::{Fields, File, Ident, ImplItem, Item, ItemImpl, ItemStruct, Type};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    for file in ["build.rs", "nginx.h", "layout.h"] {
        println!("cargo::rerun-if-changed={file}");
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let nginx = Nginx::from_env()?;
    fs::write(out.join("layout.c"), program(&nginx.bindings()?)?)?;
    fs::write(out.join("layout.rs"), nginx.run(&out)?)?;
    Ok(())
}

/// How nginx's headers are compiled, as nginx-sys found it.
struct Nginx {
    flags: Vec<String>,
}

impl Nginx {
    fn from_env() -> Result<Self> {
        let includes = env::var("DEP_NGINX_INCLUDE")?;
        // nginx-sys 0.5 means this to be DEP_NGINX_CFLAGS.
        let defines = env::var("DEP_NGINX_METADATA").unwrap_or_default();
        let defines = defines.strip_prefix("cflags=").unwrap_or_default();
        let includes = env::split_paths(&includes).map(|path| format!("-I{}", path.display()));
        Ok(Self { flags: includes.chain(defines.split_whitespace().map(str::to_owned)).collect() })
    }

    fn bindings(&self) -> Result<File> {
        let bindings = bindgen::Builder::default()
            .header("nginx.h")
            .clang_args(&self.flags)
            .allowlist_type("ngx_.*")
            .layout_tests(false)
            .formatter(bindgen::Formatter::None)
            .generate()?;
        Ok(syn::parse_file(&bindings.to_string())?)
    }

    /// What the program prints.
    fn run(&self, out: &Path) -> Result<Vec<u8>> {
        if env::var("HOST") != env::var("TARGET") {
            return Err("cannot be built for another machine: a program is run to see how nginx is laid out".into());
        }
        let program = out.join("layout");
        let mut compiler = cc::Build::new().opt_level(0).get_compiler().to_command();
        compiler
            .args(&self.flags)
            .arg("-w")
            .arg("-I.")
            .arg(out.join("layout.c"))
            .arg("-o")
            .arg(&program);
        output(&mut compiler)?;
        output(&mut Command::new(program))
    }
}

fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output()?;
    if !output.status.success() {
        let (program, said) = (command.get_program(), String::from_utf8_lossy(&output.stderr));
        return Err(format!("{} failed:\n{said}", program.to_string_lossy()).into());
    }
    Ok(output.stdout)
}

/// A program that prints two tables.
fn program(bindings: &File) -> Result<String> {
    let (mut fields, mut bits) = (String::new(), String::new());
    for item in &bindings.items {
        match item {
            Item::Struct(it) => fields += &lines_of_structure(it).unwrap_or_default(),
            Item::Impl(it) => bits += &lines_of_bits(it).unwrap_or_default(),
            _ => {}
        }
    }
    if fields.is_empty() || bits.is_empty() {
        return Err("bindgen's bindings look different from what this knows".into());
    }
    let table = |rust: &str, lines: &str| {
        format!("    puts(\"const {rust} = &[\");\n{lines}    puts(\"];\");\n")
    };
    let tables = table("FIELDS: &[Field]", &fields) + &table("BITS: &[Trial]", &bits);
    Ok(format!("#include \"layout.h\"\n\nint\nmain(void)\n{{\n{tables}    return 0;\n}}\n"))
}

fn lines_of_structure(it: &ItemStruct) -> Option<String> {
    let (rust, Fields::Named(fields)) = (it.ident.to_string(), &it.fields) else { return None };
    let c = structure_in_c(&rust)?;
    let fields: Vec<_> = fields.named.iter().filter_map(|field| field.ident.as_ref()).collect();
    if fields.iter().any(|field| *field == "_unused" || *field == "_address") {
        return None;
    }
    let mut lines = format!("    STRUCTURE({c}, \"{rust}\");\n");
    for field in fields.into_iter().filter(|field| !is_bindgens_own(field)) {
        lines += &format!("    FIELD({c}, {}, \"{rust}\", \"{field}\");\n", field_in_c(field));
    }
    Some(lines)
}

fn lines_of_bits(it: &ItemImpl) -> Option<String> {
    let Type::Path(name) = &*it.self_ty else { return None };
    let rust = name.path.get_ident()?.to_string();
    let c = structure_in_c(&rust)?;
    let mut lines = String::new();
    for get in it.items.iter().filter_map(getter) {
        let field = field_in_c(get);
        lines += &format!("    BITS({c}, {field}, \"{rust}\", \"{get}\", \"set_{field}\");\n");
    }
    Some(lines)
}

/// nginx's own structures, but for those inside of others that have no name.
fn structure_in_c(rust: &str) -> Option<String> {
    let named = rust.starts_with("ngx_") && !rust.contains("__bindgen");
    let tag = if rust.ends_with("_s") { "struct " } else { "" };
    named.then(|| format!("{tag}{rust}"))
}

/// Of what has a `self`, only the getters of bit fields have no argument.
fn getter(item: &ImplItem) -> Option<&Ident> {
    match item {
        ImplItem::Fn(it) if it.sig.receiver().is_some() && it.sig.inputs.len() == 1 => {
            Some(&it.sig.ident)
        }
        _ => None,
    }
}

fn is_bindgens_own(field: &Ident) -> bool {
    let name = field.to_string();
    ["_bitfield_", "__bindgen_"].iter().any(|prefix| name.starts_with(prefix))
}

/// bindgen puts a `_` behind what is a keyword in Rust.
fn field_in_c(field: &Ident) -> String {
    let name = field.to_string();
    name.strip_suffix('_').map_or(name.clone(), str::to_owned)
}
