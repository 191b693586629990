//! Work that is dealt piece by piece: whoever is done with one gets another. The first process deals, and works too.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Ranks, RanksError, decode, encode, said_by};

/// Pieces that lie ready for each thread, so that none waits for a message.
const AHEAD: usize = 2;
/// How long one waits for its own threads before it looks for messages: these can't wake it.
const NAP: Duration = Duration::from_micros(500);

/// What a piece of work came to: none where it was left, or why it failed.
pub type Outcome<R> = Result<Option<R>, String>;

/// What does one piece on the calling thread. It asks many times a second whether to go on.
pub type Work<'a, W, R> = dyn Fn(&W, &dyn Fn() -> bool) -> Outcome<R> + Sync + 'a;

/// Who works in a process.
pub struct Crew<'a, W, R> {
    /// Threads.
    pub threads: usize,
    /// What they do.
    pub work: &'a Work<'a, W, R>,
}

/// What the first process says.
#[derive(Serialize, Deserialize)]
enum Deal<W> {
    /// Do this.
    Piece(usize, W),
    /// Leave what you have.
    Halt,
    /// There is no more.
    Home,
}

/// What another one says.
#[derive(Serialize, Deserialize)]
enum Word<R> {
    /// It is there, with so many threads.
    Ready(usize),
    /// To each piece once.
    Answer(usize, Outcome<R>),
    /// A signal asks to end.
    Stop,
}

/// The threads of a crew at work. They end once this is dropped.
struct Hands<W, R> {
    give: Sender<(usize, W)>,
    done: Receiver<(usize, Outcome<R>)>,
}

impl<W: Send, R: Send> Crew<'_, W, R> {
    fn begin<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        go_on: &'scope (dyn Fn() -> bool + Sync),
    ) -> Hands<W, R>
    where
        W: 'scope,
        R: 'scope,
    {
        let (give, pieces) = channel::<(usize, W)>();
        let (tell, done) = channel();
        let pieces = Arc::new(Mutex::new(pieces));
        for _ in 0..self.threads.max(1) {
            let (pieces, tell) = (Arc::clone(&pieces), tell.clone());
            scope.spawn(move || {
                loop {
                    let piece = pieces.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((number, piece)) = piece else { return };
                    let outcome = catch_unwind(AssertUnwindSafe(|| (self.work)(&piece, go_on)));
                    let outcome = outcome.unwrap_or_else(|_| Err("a thread has panicked".to_owned()));
                    if tell.send((number, outcome)).is_err() {
                        return;
                    }
                }
            });
        }
        Hands { give, done }
    }
}

/// What the first process knows.
struct Table<'a, W> {
    ranks: &'a Ranks,
    pieces: &'a [W],
    /// Those that nobody has.
    left: Range<usize>,
    /// Pieces that each process has.
    dealt: Vec<usize>,
    /// Who was told that there is no more.
    home: Vec<bool>,
    failure: Option<String>,
}

impl<W: Serialize + Clone> Table<'_, W> {
    /// Gives a process the next pieces, `count` of them at most, and sends it home where it has none.
    fn deal(&mut self, to: usize, count: usize, own: &Sender<(usize, W)>) -> Result<(), RanksError> {
        for number in self.left.by_ref().take(count) {
            self.dealt[to] += 1;
            let piece = &self.pieces[number];
            if to > 0 {
                self.ranks.send(to, &Deal::Piece(number, piece))?;
            } else {
                // Its threads are there as long as this sender is.
                let _ = own.send((number, piece.clone()));
            }
        }
        if to > 0 && self.dealt[to] == 0 && !self.home[to] {
            self.home[to] = true;
            self.ranks.send(to, &Deal::<W>::Home)?;
        }
        Ok(())
    }

    /// Deals no more, and has all leave what they have.
    fn halt(&mut self) -> Result<(), RanksError> {
        if self.left.is_empty() && self.dealt.iter().all(|dealt| *dealt == 0) {
            return Ok(());
        }
        self.left = 0..0;
        let busy = (1..self.home.len()).filter(|rank| !self.home[*rank]);
        busy.into_iter().try_for_each(|rank| self.ranks.send(rank, &Deal::<W>::Halt))
    }

    fn is_done(&self) -> bool {
        self.left.is_empty() && self.dealt[0] == 0 && self.home[1..].iter().all(|home| *home)
    }
}

impl Ranks {
    /// Deals these pieces among all processes, each of which has to [help](Self::help), and hands what they come to to
    /// `done`, with their numbers. Ends early once `go_on` says no, a signal asks any of them, or a piece fails.
    pub fn deal<W, R>(
        &self,
        pieces: &[W],
        crew: &Crew<W, R>,
        go_on: &(dyn Fn() -> bool + Sync),
        done: &mut dyn FnMut(usize, R),
    ) -> Result<(), String>
    where
        W: Serialize + Clone + Send,
        R: DeserializeOwned + Send,
    {
        let halted = AtomicBool::new(false);
        let goes_on = || go_on() && !halted.load(Ordering::Relaxed);
        let mut table = Table {
            ranks: self,
            pieces,
            left: 0..pieces.len(),
            dealt: vec![0; self.size()],
            home: vec![false; self.size()],
            failure: None,
        };
        let dealt = std::thread::scope(|scope| -> Result<(), RanksError> {
            let hands = crew.begin(scope, &goes_on);
            let mut halt_is_told = false;
            table.deal(0, AHEAD * crew.threads, &hands.give)?;
            while !table.is_done() {
                if !goes_on() && !halt_is_told {
                    halt_is_told = true;
                    table.halt()?;
                }
                let own = hands.done.recv_timeout(NAP).ok();
                let own = own.map(|(number, outcome)| (0, Word::Answer(number, outcome)));
                let mut words: Vec<(usize, Word<R>)> = own.into_iter().collect();
                while let Some(word) = self.receive()? {
                    words.push(word);
                }
                for (from, word) in words {
                    let count = match word {
                        Word::Ready(threads) => AHEAD * threads,
                        Word::Stop => {
                            halted.store(true, Ordering::Relaxed);
                            continue;
                        }
                        Word::Answer(number, outcome) => {
                            table.dealt[from] -= 1;
                            match outcome {
                                Ok(Some(result)) => done(number, result),
                                Ok(None) => {}
                                Err(reason) => {
                                    halted.store(true, Ordering::Relaxed);
                                    table.failure.get_or_insert(said_by(from, reason));
                                }
                            }
                            1
                        }
                    };
                    table.deal(from, count, &hands.give)?;
                }
            }
            Ok(())
        });
        dealt.map_err(|error| {
            self.lose();
            error.to_string()
        })?;
        table.failure.map_or(Ok(()), Err)
    }

    /// Does what the first process deals, until there is no more. It is told once a signal has called.
    pub fn help<W, R>(&self, crew: &Crew<W, R>, is_called: &dyn Fn() -> bool) -> Result<(), RanksError>
    where
        W: DeserializeOwned + Send,
        R: Serialize + Send,
    {
        let halted = AtomicBool::new(false);
        let goes_on = || !halted.load(Ordering::Relaxed);
        std::thread::scope(|scope| {
            let hands = crew.begin(scope, &goes_on);
            let mut call_is_told = false;
            self.send(0, &Word::<R>::Ready(crew.threads))?;
            loop {
                while let Some((_, deal)) = self.receive()? {
                    match deal {
                        Deal::Piece(number, piece) => drop(hands.give.send((number, piece))),
                        Deal::Halt => halted.store(true, Ordering::Relaxed),
                        Deal::Home => return Ok(()),
                    }
                }
                if !call_is_told && is_called() {
                    call_is_told = true;
                    self.send(0, &Word::<R>::Stop)?;
                }
                if let Ok((number, outcome)) = hands.done.recv_timeout(NAP) {
                    self.send(0, &Word::Answer(number, outcome))?;
                }
            }
        })
    }

    fn send(&self, to: usize, word: &impl Serialize) -> Result<(), RanksError> {
        if let Some(link) = &self.0 {
            link.send(to, &encode(word)?);
        }
        Ok(())
    }

    fn receive<T: DeserializeOwned>(&self) -> Result<Option<(usize, T)>, RanksError> {
        let message = self.0.as_ref().and_then(|link| link.receive());
        message.map(|(from, bytes)| Ok((from, decode(&bytes)?))).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dealt(
        pieces: usize,
        threads: usize,
        work: &Work<usize, usize>,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> (Result<(), String>, Vec<usize>) {
        let pieces: Vec<usize> = (0..pieces).collect();
        let mut results = vec![0; pieces.len()];
        let crew = Crew { threads, work };
        let ended =
            Ranks::alone().deal(&pieces, &crew, go_on, &mut |number, result| results[number] = result);
        (ended, results)
    }

    #[test]
    fn every_piece_is_done_once_by_any_number_of_threads() {
        let double = |piece: &usize, _: &dyn Fn() -> bool| Ok(Some(2 * piece));
        for threads in [1, 3, 50] {
            assert_eq!(dealt(20, threads, &double, &|| true), (Ok(()), (0..20).map(|i| 2 * i).collect()));
        }
        assert_eq!(dealt(0, 2, &double, &|| true), (Ok(()), vec![]));
    }

    #[test]
    fn what_fails_ends_the_rest_and_says_why_and_what_is_called_off_ends_in_silence() {
        let third = |piece: &usize, _: &dyn Fn() -> bool| {
            if *piece == 3 { Err("three".to_owned()) } else { Ok(Some(1)) }
        };
        let (ended, results) = dealt(1000, 1, &third, &|| true);
        assert_eq!((ended, results[..3].to_vec()), (Err("three".to_owned()), vec![1; 3]));
        assert!(results.iter().sum::<usize>() < 1000);
        let waits = |_: &usize, go_on: &dyn Fn() -> bool| Ok(go_on().then_some(1));
        assert_eq!(dealt(5, 2, &waits, &|| false), (Ok(()), vec![0; 5]));
    }

    #[test]
    fn a_thread_that_panics_is_a_failure_and_no_wait_without_end() {
        let panics = |_: &usize, _: &dyn Fn() -> bool| -> Outcome<usize> { panic!("on purpose") };
        assert_eq!(dealt(3, 2, &panics, &|| true).0, Err("a thread has panicked".to_owned()));
    }
}
