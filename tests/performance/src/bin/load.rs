//! Sends signed events as fast as they are answered: `load ADDRESS BYTES EVENTS CONNECTIONS`.
//! Prints the number of answers per second. Each event has its own id, and all are signed before
//! the clock starts.

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
use router_performance::{SECRET, TEMPLATE_ID, event, replace_id, runtime};
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

/// Returns complete HTTP requests, head and body.
fn requests(bytes: usize, events: usize) -> Result<Vec<Bytes>, Box<dyn Error>> {
    let secret = SigningSecret::new(SECRET)?;
    let now = SystemClock.wall().duration_since(UNIX_EPOCH)?.as_secs();
    let template = event(TEMPLATE_ID, bytes).body().clone();
    let request = |number: usize| {
        let body = replace_id(&template, TEMPLATE_ID, &format!("evt_{number:012}"));
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

/// Sends the requests over this number of connections and returns the answers per second.
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
    let share_size = count.div_ceil(connections);
    let mut shares: Vec<Vec<Bytes>> = requests.chunks(share_size).map(<[Bytes]>::to_vec).collect();
    let start = SystemClock.monotonic();
    let workers: Vec<_> = streams
        .into_iter()
        .map(|stream| tokio::spawn(exchange(stream, shares.pop().unwrap_or_default())))
        .collect();
    // Waking a sleeping client costs the server's core some work, and a slower server would have to
    // do it more often. This task therefore keeps the client awake.
    let awake = tokio::spawn(async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    for worker in workers {
        worker.await??;
    }
    awake.abort();
    Ok(count as f64 / (SystemClock.monotonic() - start).as_secs_f64())
}

/// Sends the requests over one connection and waits for each answer.
async fn exchange(mut stream: TcpStream, requests: Vec<Bytes>) -> io::Result<()> {
    let mut answer = Vec::with_capacity(4096);
    for request in requests {
        stream.write_all(&request).await?;
        answer.clear();
        while !is_complete(&answer)? {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }
    Ok(())
}

/// Returns whether `answer` is a complete response. Fails if the status is not 200.
fn is_complete(answer: &[u8]) -> io::Result<bool> {
    let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
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
