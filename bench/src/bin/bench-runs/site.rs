//! A web site that says yes to everything.

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::Result;

const YES: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes";

/// Its address; it is served until the bench ends.
pub async fn open() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((visitor, _)) = listener.accept().await {
            tokio::spawn(answered(visitor));
        }
    });
    Ok(format!("http://{address}/"))
}

/// Until the visitor goes away, which is none of the site's business.
async fn answered(mut visitor: TcpStream) -> std::io::Result<()> {
    let (from, mut to) = visitor.split();
    let mut lines = BufReader::new(from).lines();
    while let Some(line) = lines.next_line().await? {
        if line.is_empty() {
            to.write_all(YES).await?;
        }
    }
    Ok(())
}
