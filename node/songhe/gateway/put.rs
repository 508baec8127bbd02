//! The `Put` stream: reading ahead, storing in batches, one result for each record, back-pressure both ways.

use std::sync::Arc;

use federation::VerifiedClient;
use record::{ReasonCode, Refusal};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};
use wire::v1;

use crate::federated::RESULTS_AHEAD;
use crate::ingest::Ingest;
use crate::node::Node;
use crate::serve::MESSAGE_MAX;

/// Messages read ahead of storing them.
const PUT_AHEAD: usize = 64;
/// The most messages stored together.
const TOGETHER: usize = 256;

/// Starts a stream; results come in the order of the records.
pub(super) fn begin(
    node: &Arc<Node>,
    client: VerifiedClient,
    stream: Streaming<v1::PutRequest>,
) -> mpsc::Receiver<Result<v1::PutResponse, Status>> {
    let (send, receive) = mpsc::channel(RESULTS_AHEAD);
    let node = Arc::clone(node);
    tokio::spawn(async move {
        if let Err(refusal) = run(&node, client.name().as_str(), stream, &send).await {
            let status = node.turn_away(refusal).await;
            drop(send.send(Err(status)).await);
        }
    });
    receive
}

async fn run(
    node: &Node,
    client_name: &str,
    mut stream: Streaming<v1::PutRequest>,
    send: &mpsc::Sender<Result<v1::PutResponse, Status>>,
) -> Result<(), Refusal> {
    let malformed = |detail: &str| Refusal::with_detail(ReasonCode::RequestMalformed, detail);
    let first = stream.message().await.map_err(|s| broken(&s))?;
    let Some(v1::put_request::Part::Open(open)) = first.and_then(|m| m.part) else {
        return Err(malformed("the first message of a put is open"));
    };
    let mut ingest = Ingest::open(node, client_name, &open)?;
    let (ahead, mut waiting) = mpsc::channel(PUT_AHEAD);
    // Reading and storing overlap; the channel's bound is what holds a fast sender back.
    let reader = tokio::spawn(async move {
        loop {
            match stream.message().await {
                Ok(Some(message)) => {
                    if ahead.send(message).await.is_err() {
                        return Ok(());
                    }
                }
                Ok(None) => return Ok(()),
                Err(status) => return Err(broken(&status)),
            }
        }
    });
    let mut messages = Vec::new();
    while waiting.recv_many(&mut messages, TOGETHER).await > 0 {
        let mut items = Vec::with_capacity(messages.len());
        for message in messages.drain(..) {
            match message.part {
                Some(v1::put_request::Part::Item(item)) => items.push(item),
                Some(v1::put_request::Part::Open(_)) | None => {
                    return Err(malformed("after open, each message of a put is an item"));
                }
            }
        }
        for result in ingest.take(items).await? {
            if send.send(Ok(result)).await.is_err() {
                return Ok(());
            }
        }
    }
    reader
        .await
        .map_err(|_| Refusal::new(ReasonCode::Internal))??;
    ingest.finish()
}

/// A message above the limit is refused by the stack before we see it; it gets our reason. A cut stream is named so.
fn broken(status: &Status) -> Refusal {
    match status.code() {
        tonic::Code::OutOfRange | tonic::Code::ResourceExhausted => Refusal::with_detail(
            ReasonCode::RecordTooLarge,
            format!("a message has at most {MESSAGE_MAX} bytes"),
        ),
        _ => Refusal::new(ReasonCode::StreamTruncated),
    }
}
