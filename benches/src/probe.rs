//! Another client of the same workers: asks each for something cheap, again and again, and records
//! how long it waits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use hdrhistogram::Histogram;

use crate::clock::now;
use crate::http::Client;

const INTERVAL: Duration = Duration::from_millis(1);
const PATH: &str = "/probe";

/// One connection to each worker.
pub struct Probe {
    clients: Vec<Client>,
}

impl Probe {
    pub fn connect(address: SocketAddr, workers: usize) -> Result<Self> {
        let mut found: Vec<String> = Vec::new();
        let mut clients = Vec::new();
        for _ in 0..100 * workers {
            let mut client = Client::connect(address)?;
            let answer = client.get(PATH)?;
            let worker = answer.header("worker").context("the probe got no answer of its own")?;
            if !found.iter().any(|known| known == worker) {
                found.push(worker.to_owned());
                clients.push(client);
            }
            if clients.len() == workers {
                return Ok(Self { clients });
            }
        }
        Err(anyhow!("the probe reached {} of {workers} workers", clients.len()))
    }

    pub fn start(self) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |client| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || ask_until(client, &stop))
        };
        let threads = self.clients.into_iter().map(start).collect();
        Running { stop, threads }
    }
}

pub struct Running {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<Histogram<u64>>>>,
}

impl Running {
    /// The latencies in nanoseconds, of all the workers together.
    pub fn stop(self) -> Result<Histogram<u64>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = Histogram::new(3)?;
        for thread in self.threads {
            sum.add(thread.join().map_err(|_| anyhow!("the probe has failed"))??)?;
        }
        Ok(sum)
    }
}

fn ask_until(mut client: Client, stop: &AtomicBool) -> Result<Histogram<u64>> {
    let mut latencies = Histogram::new(3)?;
    while !stop.load(Ordering::Relaxed) {
        let asked = now();
        ensure!(client.get(PATH)?.status == 204, "the probe was refused");
        // A long wait also stands for those that would have been asked meanwhile.
        latencies.record_correct(now() - asked, INTERVAL.as_nanos() as u64)?;
        thread::sleep(INTERVAL);
    }
    Ok(latencies)
}
