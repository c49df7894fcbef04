//! The endpoint, a router and one handler, on our server, and nothing else. `PORT` says where, `HANDLER`
//! whether it reads a field (`field`, the default), takes the event (`event`) or never ends (`wait`), `THREADS`
//! how many threads there are, `RUST_LOG` what is logged to stderr: by default `info`, as in the hyper example.

use std::{env, error::Error};

use router_core::{
    Endpoint, SigningSecret,
    server::{Server, shutdown_signal},
};
use router_performance::{SECRET, port, reads_a_field, runtime, takes_the_event, waits_for_ever};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

fn main() -> Result<(), Box<dyn Error>> {
    let level = EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .with_env_filter(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let secret = env::var("STRIPE_WEBHOOK_SECRET").unwrap_or_else(|_| SECRET.to_owned());
    let router = match env::var("HANDLER").as_deref() {
        Ok("event") => takes_the_event(),
        Ok("wait") => waits_for_ever(),
        _ => reads_a_field(),
    };
    runtime()?.block_on(async {
        let endpoint = Endpoint::new(SigningSecret::new(&secret)?, router);
        let listener = TcpListener::bind(("127.0.0.1", port())).await?;
        println!("listening on {}", listener.local_addr()?);
        Server::new(endpoint).serve(listener, shutdown_signal()?).await;
        Ok(())
    })
}
