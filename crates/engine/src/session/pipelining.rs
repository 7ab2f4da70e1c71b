/// Detects clients that send several packets without waiting for the answers. The session looks for more of their packets
/// before it writes the answers, because one write then carries many. Clients that wait for each answer get it at once.
#[derive(Debug, Default)]
pub(crate) struct Pipelining {
    /// How likely more packets come soon, up to [`SURE`]; 0 for clients that wait for each answer.
    confidence: u8,
    /// How often in a row the answers have been held back.
    holds: u8,
}

const SURE: u8 = 8;

/// The session looks for more packets at most this often before it writes; each look takes one or two microseconds.
const MOST_HOLDS: u8 = 16;

impl Pipelining {
    /// Whether to hold the answers back and look for more packets again. This look has found `packets`.
    pub(crate) fn holds(&mut self, packets: u64) -> bool {
        let looked_again = self.holds > 0;
        match packets {
            0 if looked_again => self.confidence = self.confidence.saturating_sub(1),
            0 => {}
            1 if !looked_again => {}
            _ => self.confidence = (self.confidence + 2).min(SURE),
        }
        if packets == 0 || self.confidence == 0 || self.holds == MOST_HOLDS {
            self.holds = 0;
            return false;
        }
        self.holds += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_waits_for_answers_is_never_held_back() {
        let mut pipelining = Pipelining::default();
        assert!((0..100).all(|_| !pipelining.holds(1) && !pipelining.holds(0)));
    }

    #[test]
    fn a_client_that_does_not_is_held_back_until_no_more_comes() {
        let mut pipelining = Pipelining::default();
        assert!(pipelining.holds(3) && pipelining.holds(1));
        assert!(!pipelining.holds(0));
        assert!(pipelining.holds(1), "the next burst is expected");
    }

    #[test]
    fn nothing_is_held_back_for_long_and_confidence_is_lost_again() {
        let mut pipelining = Pipelining::default();
        assert!(pipelining.holds(2));
        let held = (0..100).take_while(|_| pipelining.holds(5)).count();
        assert_eq!(held, usize::from(MOST_HOLDS) - 1);
        let mut held_singles = 0;
        for _ in 0..100 {
            if pipelining.holds(1) {
                held_singles += 1;
                while pipelining.holds(0) {}
            }
        }
        assert!(held_singles <= SURE, "a client that waits again is still held back: {held_singles}");
    }
}
