//! Sends signed events as fast as they are answered: `load ADDRESS BYTES EVENTS CONNECTIONS`. Every event has
//! an id of its own and is signed before the clock starts. Prints how many were answered a second.

use std::{
    env,
    error::Error,
    io::{self, ErrorKind},
    net::SocketAddr,
    time::UNIX_EPOCH,
};

use bytes::Bytes;
use router_core::{
    SigningSecret,
    clock::{Clock as _, SystemClock},
    signature::sign,
};
use router_performance::{SECRET, event, runtime, with_id};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, bytes, events, connections] = &arguments[..] else {
        return Err("usage: load ADDRESS BYTES EVENTS CONNECTIONS".into());
    };
    let (address, connections): (SocketAddr, usize) = (address.parse()?, connections.parse()?);
    let requests = requests(bytes.parse()?, events.parse()?)?;
    let rate = runtime()?.block_on(send(address, requests, connections))?;
    println!("{rate:.0}");
    Ok(())
}

/// Whole requests, head and body.
fn requests(bytes: usize, events: usize) -> Result<Vec<Bytes>, Box<dyn Error>> {
    let secret = SigningSecret::new(SECRET)?;
    let now = SystemClock.wall().duration_since(UNIX_EPOCH)?.as_secs();
    let first = "evt_000000000000";
    let body = event(first, bytes).body().clone();
    let request = |number: usize| {
        let body = with_id(&body, first, &format!("evt_{number:012}"));
        let signature = sign(&secret, now, &body);
        let head = format!(
            "POST /webhook HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json; charset=utf-8\r\n\
             User-Agent: Stripe/1.0 (+https://stripe.com/docs/webhooks)\r\nAccept: */*; q=0.5, application/xml\r\n\
             Cache-Control: no-cache\r\nStripe-Signature: {signature}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), &body].concat().into()
    };
    Ok((0..events).map(request).collect())
}

async fn send(
    address: SocketAddr,
    requests: Vec<Bytes>,
    connections: usize,
) -> Result<f64, Box<dyn Error>> {
    let mut streams = Vec::new();
    for _ in 0..connections {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    let count = requests.len();
    let share = count.div_ceil(connections);
    let mut shares: Vec<Vec<Bytes>> = requests.chunks(share).map(<[Bytes]>::to_vec).collect();
    let begun = SystemClock.monotonic();
    let workers: Vec<_> = streams
        .into_iter()
        .map(|stream| tokio::spawn(exchange(stream, shares.pop().unwrap_or_default())))
        .collect();
    // To wake a client that sleeps is work for the server's core, and the slower the server is, the more of
    // it there is: so this one never sleeps.
    let awake = tokio::spawn(async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    for worker in workers {
        worker.await??;
    }
    awake.abort();
    Ok(count as f64 / (SystemClock.monotonic() - begun).as_secs_f64())
}

async fn exchange(mut stream: TcpStream, requests: Vec<Bytes>) -> io::Result<()> {
    let mut answer = Vec::with_capacity(4096);
    for request in requests {
        stream.write_all(&request).await?;
        answer.clear();
        while !is_whole(&answer)? {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }
    Ok(())
}

/// Whether this is all of an answer, which must be a 200.
fn is_whole(answer: &[u8]) -> io::Result<bool> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(false);
    };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    if !head.starts_with("http/1.1 200") {
        return Err(io::Error::other(head));
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or_default();
    Ok(answer.len() >= end + 4 + length)
}
