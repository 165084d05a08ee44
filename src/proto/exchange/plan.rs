//! The second step of a turn: inflate the history, join it with the input, make room for the reply,
//! write the request.

use super::{
    client_history,
    fit::{Fit, fit},
    open::Opened,
    state::{Exchange, Ready},
    summary::Summarizing,
    turn_state::{Plan, TurnState},
};
use crate::proto::{
    chat::{History, Item, ends_with_model, results_first, without_inline_images},
    deployment::{ClientSystem, Deployment, Model},
    error::Error,
    token::{Claims, Codec, VerifiedToken},
};

/// A planned turn: its next request is written.
pub enum Planned {
    /// The model can be called.
    Ready(Exchange<Ready>),
    /// The conversation is too long. A summary of its older turns must be requested first.
    Summarizing(Exchange<Summarizing>),
}

impl Exchange<Opened> {
    /// Inflates the history, joins it with the input, makes room for the reply, and writes the
    /// request for the upstream.
    ///
    /// # Errors
    /// - [`Error::TokenInvalid`] for a token whose history cannot be read.
    /// - [`Error::ClientHistoryForbidden`], [`Error::ClientSystemForbidden`],
    ///   [`Error::RequestInvalid`], [`Error::MessageTooLarge`] and [`Error::ImageTooLarge`] for
    ///   input or a system prompt that the turn cannot have.
    /// - [`Error::HistoryTooLarge`] if the reply has no room.
    /// - [`Error::Unsupported`] for options that the provider format cannot express.
    pub fn plan(self, codec: &mut Codec) -> Result<Planned, Error> {
        let (mut turn, mut plan) = self.join(codec)?;
        match fit(&mut turn, &mut plan, codec)? {
            Fit::Fits => Exchange::<Ready>::new(turn, Box::new(plan)).map(Planned::Ready),
            Fit::NeedsSummary { items } => {
                Exchange::<Summarizing>::new(turn, Box::new(plan), items).map(Planned::Summarizing)
            }
        }
    }

    /// Inflates the history, and joins it with the input.
    pub(super) fn join(self, codec: &mut Codec) -> Result<(Box<TurnState>, Plan), Error> {
        let Self { mut turn, state } = self;
        let Opened { token, model, input, system, mut options, truncation } = state;
        let system = system_prompt(system, &model)?;
        turn.base = token.map(|token| token.unpack(&turn.deployment.limits, codec)).transpose()?;
        let mut history = turn.base.as_ref().map(VerifiedToken::history).transpose()?.unwrap_or_default();
        let is_new = new_items(&model, &input, turn.base.as_ref(), &history)?;
        let is_empty = input.is_empty();
        let new = input.into_iter().zip(is_new).filter(|(_, is_new)| *is_new);
        let mut new_input: Vec<_> = new.map(|(item, _)| item).collect();
        if new_input.is_empty() && !is_empty {
            return Err(ends_with_model());
        }
        turn.claims.asserted |= model.accepts_client_history && client_history::is_in(&new_input);
        results_first(&mut new_input);
        let (new_lines, elided_images) = input_lines(&new_input, turn.deployment.elides_inline_images);
        let Deployment { limits, images, .. } = &*turn.deployment;
        history.push_input(new_input, model.accepts_client_history, limits, images)?;
        options.max_output_tokens = options.max_output_tokens.or(model.max_output_tokens);
        turn.lowered = model.ceilings.lower(&mut options);
        turn.new_lines = new_lines;
        turn.elided_images = elided_images;
        turn.item_count = history.items().len();
        let truncation = truncation.unwrap_or(model.truncation);
        Ok((turn, Plan { model, history, system, options, truncation }))
    }
}

/// Returns true for each item of `input` that does not repeat the conversation.
fn new_items(
    model: &Model,
    input: &[Item],
    base: Option<&VerifiedToken>,
    history: &History,
) -> Result<Vec<bool>, Error> {
    let turns = match base.map(|base| base.claims()) {
        // The client brought turns that the count does not have. More may have been trimmed.
        Some(claims) if claims.asserted => u64::MAX,
        claims => claims.map_or(0, |claims| claims.turn),
    };
    history.new_items(input, turns, model.accepts_client_history)
}

/// The system prompt of the turn: the operator's, or the client's if the operator has none. If the
/// model takes both, the operator's comes first.
fn system_prompt(from_client: Option<String>, model: &Model) -> Result<Option<String>, Error> {
    let from_client = from_client.filter(|text| !text.trim().is_empty());
    match (&model.system_prompt, from_client, model.client_system) {
        (None, from_client, _) => Ok(from_client),
        (Some(from_operator), Some(from_client), ClientSystem::Append) => {
            Ok(Some(format!("{}\n\n{from_client}", from_operator.trim_end())))
        }
        (Some(_), Some(_), ClientSystem::Refuse) => Err(Error::ClientSystemForbidden),
        (Some(from_operator), None, _) => Ok(Some(from_operator.clone())),
    }
}

/// The lines of the input for the token, and the number of inline images that they leave out.
fn input_lines(input: &[Item], elides_inline_images: bool) -> (String, usize) {
    let (mut lines, mut elided) = (String::new(), 0_usize);
    for item in input {
        if elides_inline_images {
            let (item, images) = without_inline_images(item);
            item.write_line(&mut lines);
            elided = elided.saturating_add(images);
        } else {
            item.write_line(&mut lines);
        }
    }
    (lines, elided)
}

impl Planned {
    /// Returns true if the client wants the reply as a stream.
    #[must_use]
    pub fn is_streamed(&self) -> bool {
        match self {
            Self::Ready(exchange) => exchange.is_streamed(),
            Self::Summarizing(exchange) => exchange.is_streamed(),
        }
    }

    /// The bytes of the inflated history and the input.
    #[must_use]
    pub fn history_bytes(&self) -> usize {
        match self {
            Self::Ready(exchange) => exchange.history_bytes(),
            Self::Summarizing(exchange) => exchange.history_bytes(),
        }
    }

    /// The claims of the token that the exchange issues.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        match self {
            Self::Ready(exchange) => exchange.claims(),
            Self::Summarizing(exchange) => exchange.claims(),
        }
    }

    /// The names of the options that the operator's ceilings lowered.
    #[must_use]
    pub fn lowered(&self) -> &[String] {
        match self {
            Self::Ready(exchange) => &exchange.turn.lowered,
            Self::Summarizing(exchange) => &exchange.turn.lowered,
        }
    }

    /// Returns true if the client may bring the reply back as history of its own. It then needs all
    /// that the model service wants back.
    #[must_use]
    pub fn accepts_client_history(&self) -> bool {
        match self {
            Self::Ready(exchange) => exchange.turn.accepts_client_history,
            Self::Summarizing(exchange) => exchange.turn.accepts_client_history,
        }
    }
}
