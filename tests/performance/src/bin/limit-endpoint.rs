//! Serves the fastest possible endpoint, the limit for others: hyper reads the body, the HMAC under
//! a prepared key is compared with the one in the header, and the answer is 200. There is no JSON
//! and no routing. `PORT`, `STRIPE_WEBHOOK_SECRET` and `THREADS` are as for bench-endpoint.

use std::{convert::Infallible, env, error::Error};

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use router_performance::{SECRET, port, runtime};
use sha2::Sha256;
use tokio::net::TcpListener;

fn main() -> Result<(), Box<dyn Error>> {
    let secret = env::var("STRIPE_WEBHOOK_SECRET").unwrap_or_else(|_| SECRET.to_owned());
    let key = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
    runtime()?.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", port())).await?;
        println!("listening on {}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let key = key.clone();
            let service = service_fn(move |request| answer(request, key.clone()));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move { drop(connection.await) });
        }
    })
}

async fn answer(
    request: Request<Incoming>,
    mac: Hmac<Sha256>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes);
    let is_signed = body.is_ok_and(|body| is_signed(&head.headers, &body, mac));
    let status = if is_signed { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let mut response = Response::new(Full::new(Bytes::from_static(b"ok")));
    *response.status_mut() = status;
    Ok(response)
}

fn is_signed(headers: &http::HeaderMap, body: &[u8], mut mac: Hmac<Sha256>) -> bool {
    let header = headers.get("stripe-signature").map(http::HeaderValue::as_bytes);
    let parts = header.and_then(|header| {
        let comma = header.iter().position(|byte| *byte == b',')?;
        Some((header.get(2..comma)?, header.get(comma + 4..)?))
    });
    let Some((time, hex)) = parts else { return false };
    mac.update(time);
    mac.update(b".");
    mac.update(body);
    let expected = mac.finalize().into_bytes();
    // This server only measures speed, so the comparison need not take constant time.
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap_or_default() as u8;
    hex.len() == 64
        && hex
            .chunks_exact(2)
            .zip(expected)
            .all(|(pair, byte)| digit(pair[0]) << 4 | digit(pair[1]) == byte)
}
