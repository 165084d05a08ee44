//! The start of a turn's reply: the summary, if the turn needs one, and the first upstream call
//! with output.

use std::sync::Arc;

use super::{call::CallContext, host::Host, permit::HeldPermit, reply_stream::ReplyStream, state::Service};
use crate::{
    guard::TurnEnd,
    proto::{
        error::Error,
        exchange::{Failure, Planned},
        turn::Answer,
    },
};

/// A turn that the guard has admitted.
pub(super) struct AdmittedTurn<H: Host> {
    pub(super) planned: Planned,
    pub(super) context: CallContext,
    pub(super) permit: HeldPermit<H>,
    /// True if the client sees nothing before the end of the reply.
    pub(super) holds: bool,
}

/// A reply that has output, or that has ended.
pub(super) struct OpenedReply<H: Host> {
    pub(super) reply: ReplyStream<H>,
    pub(super) end: Option<Result<Answer, Failure>>,
}

impl<H: Host> AdmittedTurn<H> {
    /// Calls the model until there is output.
    ///
    /// # Errors
    /// That of a failed summary.
    pub(super) async fn open(self, service: Arc<Service<H>>) -> Result<OpenedReply<H>, Error> {
        let Self { planned, mut context, permit, holds } = self;
        let ready = match planned {
            Planned::Ready(exchange) => Ok(exchange),
            Planned::Summarizing(exchange) => service.summarize(exchange, &mut context).await,
        };
        let exchange = match ready {
            Ok(exchange) => exchange,
            Err(error) => {
                // Before the client gets the error, so that its next try finds the token valid.
                permit.settle(TurnEnd::Failed).await;
                return Err(error);
            }
        };
        let mut reply = ReplyStream::new(service, exchange, context, permit, holds);
        let end = reply.open().await;
        Ok(OpenedReply { reply, end })
    }
}
