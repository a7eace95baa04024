//! Round-trip time of a frame over loopback: `cargo run --release -p skep-net --example echo`.

use skep_net::{Net, NetConfig, NetEvent};
use skep_types::wire::{Frame, Payload, SessionId, StreamHello};
use std::{error::Error, net::SocketAddr, time::Instant};

const LAPS: usize = 2000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let any: SocketAddr = "127.0.0.1:0".parse()?;
    let (near, mut near_events) = Net::bind(NetConfig::new([1; 32], any)).await?;
    let (far, mut far_events) = Net::bind(NetConfig::new([2; 32], any)).await?;
    let hello = StreamHello { session: SessionId([7; 16]), epoch: 0 };
    let (back, away) = (near.peer(), far.peer());
    let echo = far.clone();
    tokio::spawn(async move {
        if let Some(NetEvent::Data { mut frames, .. }) = far_events.recv().await
            && let Ok(mut sender) = echo.open_data(&back, hello).await
        {
            while let Ok(Some(frame)) = frames.recv().await {
                if sender.send(&frame).await.is_err() {
                    return;
                }
            }
        }
    });
    let mut sender = near.open_data(&away, hello).await?;
    let Some(NetEvent::Data { mut frames, .. }) = near_events.recv().await else { return Err("no echo".into()) };
    println!("{:>8}  {:>8}  {:>8}", "bytes", "p50 us", "p99 us");
    for kib in [2usize, 8, 16, 64] {
        let frame = Frame {
            epoch: 0,
            pos: 0,
            rows: 1,
            forward_from: 0,
            wants_candidates: false,
            hops: Vec::new(),
            payload: Payload::Rows(vec![0.5; kib * 256]),
        };
        let mut laps = Vec::with_capacity(LAPS);
        for _ in 0..LAPS {
            let start = Instant::now();
            sender.send(&frame).await?;
            frames.recv().await?.ok_or("the echo ended")?;
            laps.push(start.elapsed().as_micros());
        }
        laps.sort_unstable();
        println!("{:>8}  {:>8}  {:>8}", kib << 10, laps[LAPS / 2], laps[LAPS * 99 / 100]);
    }
    far.close().await;
    near.close().await;
    Ok(())
}
