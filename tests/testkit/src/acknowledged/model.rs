//! The states that a key may have in MongoDB.

/// The number that a document holds; nothing without a document.
pub type State = Option<u64>;

/// What a client knows of one of its keys, which no other client writes.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What the last answered write has left.
    acknowledged: State,
    /// What was sent after it.
    sent: Vec<State>,
}

impl History {
    /// A write is sent.
    pub fn sent(&mut self, state: State) {
        self.sent.push(state);
    }

    /// The last write that was sent is answered with OK.
    pub fn acknowledged(&mut self) {
        if let Some(last) = self.sent.pop() {
            self.acknowledged = last;
            self.sent.clear();
        }
    }

    /// The last write that was sent has changed nothing.
    pub fn unchanged(&mut self) {
        self.sent.pop();
    }

    /// What is wrong with this state of the document, if anything is.
    pub fn fault(&self, state: State) -> Option<String> {
        if state == self.acknowledged || self.sent.contains(&state) {
            return None;
        }
        let History { acknowledged, sent } = self;
        Some(format!(
            "MongoDB has {state:?}, answered with OK was {acknowledged:?}, sent later {sent:?}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_later_may_be_there_and_what_is_older_may_not() {
        let mut history = History::default();
        assert_eq!(history.fault(None), None);
        for number in 1..=3 {
            history.sent(Some(number));
        }
        history.acknowledged();
        assert_eq!(history.fault(Some(3)), None);
        assert!(history.fault(Some(2)).is_some() && history.fault(None).is_some());
        history.sent(None);
        history.sent(Some(5));
        history.unchanged();
        assert_eq!((history.fault(None), history.fault(Some(3))), (None, None));
        assert!(history.fault(Some(5)).is_some());
    }
}
