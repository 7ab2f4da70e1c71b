//! An application that sends nothing and ignores what it receives, for unit tests of the engine.
use std::{sync::Arc, task::Context};

use crate::{Application, CloseReason, Message, Session, SessionHandler};

pub(crate) struct Silent;

impl Application for Silent {
    type Handler = Self;

    fn open(&self, _: &Arc<Session>) -> Self {
        Self
    }
}

impl SessionHandler for Silent {
    fn message(&mut self, _: Message<'_>, _: &mut Context<'_>) {}

    fn closed(&mut self, _: CloseReason) {}
}
