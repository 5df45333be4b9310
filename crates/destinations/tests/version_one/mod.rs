//! A relay that turns restic's REST server into one of the first version: it changes one digit of what the client
//! says it accepts, so that listings come without sizes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const ASKED: &[u8] = b"application/vnd.x.restic.rest.v2";

/// The relay; it ends with the runtime of its test.
pub(crate) struct Relay {
    /// Where it listens, `http://127.0.0.1:PORT/`.
    pub(crate) url: String,
    downgraded: Arc<AtomicUsize>,
}

impl Relay {
    /// Starts one in front of `http://host:port/`.
    pub(crate) async fn start(server_url: &str) -> Self {
        let server = server_url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let downgraded = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&downgraded);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(relay(client, server.clone(), Arc::clone(&counter)));
            }
        });
        Self { url, downgraded }
    }

    /// How many requests were changed.
    pub(crate) fn listings_downgraded(&self) -> usize {
        self.downgraded.load(Ordering::Relaxed)
    }
}

async fn relay(client: TcpStream, server: String, downgraded: Arc<AtomicUsize>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length) = from_client.read(&mut buffer).await {
        if length == 0 {
            break;
        }
        // The head of a listing's request is far smaller than one read.
        let part = &mut buffer[..length];
        if let Some(position) = part.windows(ASKED.len()).position(|window| window == ASKED) {
            part[position + ASKED.len() - 1] = b'1';
            downgraded.fetch_add(1, Ordering::Relaxed);
        }
        if to_server.write_all(part).await.is_err() {
            break;
        }
    }
    let _ = to_server.shutdown().await;
    let _ = back.await;
}
