//! The benchmark of intermission, and its load tool.

mod answers;
mod check;
mod clients;
mod clock;
mod commands;
mod cores;
mod figure;
mod findings;
mod fleet;
mod helper;
mod http;
mod lab;
mod limits;
mod measure;
mod order;
mod origin;
mod page;
mod plan;
mod plot;
mod probe;
mod process;
mod run;
mod stats;
mod system;
mod table;

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use lexopt::prelude::*;

fn main() -> Result<ExitCode> {
    limits::raise()?;
    let mut arguments = lexopt::Parser::from_env();
    let Some(Value(mode)) = arguments.next()? else { bail!("say run, origin or clients") };
    match mode.to_str().context("a mode that is no text")? {
        "run" => run::run(&run_options(arguments)?),
        "origin" => origin::run(address(arguments)?).map(|()| ExitCode::SUCCESS),
        "clients" => clients::run(client_options(arguments)?).map(|()| ExitCode::SUCCESS),
        other => bail!("there is no mode {other}, only run, origin and clients"),
    }
}

fn run_options(mut arguments: lexopt::Parser) -> Result<run::Options> {
    let mut options = run::Options::default();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("nginx") => options.nginx = arguments.value()?.into(),
            Long("module") => options.module = Some(arguments.value()?.into()),
            Long("command") => options.command = Some(arguments.value()?.into()),
            Long("tools") => options.tools = Some(arguments.value()?.into()),
            Long("out") => options.out = arguments.value()?.into(),
            Long("recorded") => options.recorded = Some(arguments.value()?.into()),
            Long("only") => options.only.push(arguments.value()?.string()?),
            Long("quick") => options.quick = true,
            _ => return Err(argument.unexpected().into()),
        }
    }
    Ok(options)
}

/// Where the origin is to listen: a port that is free, if it is not said.
fn address(mut arguments: lexopt::Parser) -> Result<SocketAddr> {
    Ok(match arguments.next()? {
        Some(Value(address)) => address.parse()?,
        _ => SocketAddr::from(([127, 0, 0, 1], 0)),
    })
}

fn client_options(mut arguments: lexopt::Parser) -> Result<clients::Options> {
    let mut options = clients::Options::default();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("target") => options.targets.push(arguments.value()?.parse()?),
            Long("count") => options.count = arguments.value()?.parse()?,
            Long("first") => options.first = arguments.value()?.parse()?,
            Long("path") => options.path = arguments.value()?.string()?,
            Long("body") => options.body = Some(arguments.value()?.parse()?),
            _ => return Err(argument.unexpected().into()),
        }
    }
    Ok(options)
}
