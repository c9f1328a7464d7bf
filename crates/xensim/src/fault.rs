//! Misbehaviour on demand.
//!
//! A fault waits until what it names comes by, strikes as often as it was asked to, and is gone.
//! Everything here may be set from outside through the control endpoint.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::error::ApiError;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The connection of an export breaks after `at_byte` bytes of body.
    CutExport,
    /// The connection of an import breaks after `at_byte` bytes of body.
    CutImport,
    /// An export sends nothing for `seconds` (0: until faults are cleared) after `at_byte` bytes, but for
    /// the empty chunk that real pools send after five seconds.
    StallExport,
    /// An import reads nothing for `seconds` (0: until faults are cleared) after `at_byte` bytes.
    StallImport,
    /// An export stops after about `at_byte` bytes with a second HTTP answer (500) in its stream.
    TailExport,
    /// The byte at `at_byte` of an export's body is flipped.
    CorruptExport,
    /// The storage is full once `at_byte` bytes of disk came with an import.
    SrFull,
    /// Taking a snapshot fails, as the storage is full.
    SrFullSnapshot,
    /// `VDI.destroy` is refused with `VDI_IN_USE`.
    VdiInUse,
    /// The task of an export fails after the last byte was sent.
    FailExportTask,
    /// The task of an import fails after the last byte was read.
    FailImportTask,
    /// Transfers move at `bytes_per_second`.
    SlowLink,
    /// All sessions are forgotten once `at_byte` bytes of an export or import went by.
    SessionLost,
    /// An export is answered with HTTP 500 before its head.
    RefuseExport,
    /// An import is answered with HTTP 500 before its head.
    RefuseImport,
    /// The database that is sent has nothing in it, as during a rolling upgrade.
    StubDatabase,
    /// The script behind a host's backup fails after `at_byte` bytes.
    FailBackupScript,
    /// A host has no partition for backups.
    NoBackupPartition,
    /// The next RPC connection closes without an answer.
    DropRpc,
    /// `VM.start` fails.
    FailStart,
    /// A call is refused with [`Fault::code`] before it has any effect; see [`Fault::method`].
    RefuseCall,
    /// A checkpoint can't suspend its machine.
    FailSuspend,
    /// A checkpoint can't resume its machine, which stays suspended.
    FailResume,
    /// A call hangs until faults are cleared; see [`Fault::method`] and [`Fault::when`].
    StallCall,
}

/// Where in a call it hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Before it has any effect.
    Before,
    /// In the midst of a transfer.
    During,
    /// After all of its effects, with the answer held back.
    After,
}

/// A fault that is armed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Where in the stream.
    #[serde(default)]
    pub at_byte: u64,
    /// How often it strikes; `None` for always.
    #[serde(default = "once")]
    pub times: Option<u32>,
    /// How often it is spared before it strikes.
    #[serde(default)]
    pub skip: u32,
    /// For how long.
    #[serde(default)]
    pub seconds: f64,
    /// How fast.
    #[serde(default)]
    pub bytes_per_second: u64,
    /// The error of a [`FaultKind::RefuseCall`], in XAPI's words.
    #[serde(default)]
    pub code: Option<String>,
    /// What the error is about.
    #[serde(default)]
    pub params: Vec<String>,
    /// Which call a [`FaultKind::StallCall`] or [`FaultKind::RefuseCall`] is for: `VM.destroy` (through `Async.` too), or the path of a
    /// transfer such as `/export`.
    #[serde(default)]
    pub method: Option<String>,
    /// Where in the call it hangs.
    #[serde(default)]
    pub when: Option<When>,
    /// Which of the calls is meant, counted from 1; another way to say [`Fault::skip`].
    #[serde(default)]
    pub nth: Option<u32>,
}

/// A call that hangs now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stalled {
    /// Which call.
    pub method: String,
    /// Where in it.
    pub when: When,
    #[serde(skip)]
    number: u64,
}

#[expect(clippy::unnecessary_wraps, reason = "serde asks for a function of the field's type")]
fn once() -> Option<u32> {
    Some(1)
}

impl Fault {
    /// A fault that strikes once, at the first byte.
    pub fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            at_byte: 0,
            times: once(),
            skip: 0,
            seconds: 0.0,
            bytes_per_second: 0,
            code: None,
            params: Vec::new(),
            method: None,
            when: None,
            nth: None,
        }
    }

    /// A call that hangs until faults are cleared.
    pub fn stall_call(method: &str, when: When) -> Self {
        Self { method: Some(method.to_owned()), when: Some(when), ..Self::new(FaultKind::StallCall) }
    }

    /// A call that is refused with an error of XAPI's.
    pub fn refuse_call(method: &str, code: &str, params: &[&str]) -> Self {
        Self {
            method: Some(method.to_owned()),
            code: Some(code.to_owned()),
            params: params.iter().map(|param| (*param).to_owned()).collect(),
            ..Self::new(FaultKind::RefuseCall)
        }
    }

    /// The same, at that byte of a stream.
    #[must_use]
    pub fn at_byte(mut self, at_byte: u64) -> Self {
        self.at_byte = at_byte;
        self
    }

    /// The same, that many times.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// The same, until it is taken away.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.times = None;
        self
    }

    /// How long it lasts.
    pub fn duration(&self) -> Duration {
        Duration::try_from_secs_f64(self.seconds).unwrap_or_default()
    }
}

/// All faults that are armed. Clones are handles to the same.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Counts how often all faults were taken away.
    cleared: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    armed: Vec<Fault>,
    struck: HashMap<FaultKind, u64>,
    stalled: Vec<Stalled>,
    stalls: u64,
}

impl Faults {
    /// Arms a fault.
    pub fn arm(&self, mut fault: Fault) {
        fault.skip += fault.nth.take().unwrap_or(1).saturating_sub(1);
        self.lock().armed.push(fault);
    }

    /// Takes all faults away; calls that hang go on.
    pub fn clear(&self) {
        self.lock().armed.clear();
        self.0.cleared.send_modify(|count| *count += 1);
    }

    /// The calls that hang now.
    pub fn stalled(&self) -> Vec<Stalled> {
        self.lock().stalled.clone()
    }

    /// Hangs if a fault says that this call shall, until faults are cleared.
    pub async fn stall(&self, method: &str, when: When) {
        let mut cleared = self.0.cleared.subscribe();
        let is_meant = |fault: &Fault| {
            fault.kind == FaultKind::StallCall && fault.method.as_deref() == Some(method) && fault.when == Some(when)
        };
        if self.strike_if(is_meant).is_some() {
            let _held = self.hold(method, when);
            // The sender lives as long as we do.
            let _ = cleared.changed().await;
        }
    }

    /// What this call is refused with, if a fault says so.
    pub(crate) fn refusal(&self, method: &str) -> Option<ApiError> {
        let is_meant = |fault: &Fault| fault.kind == FaultKind::RefuseCall && fault.method.as_deref() == Some(method);
        let fault = self.strike_if(is_meant)?;
        Some(ApiError::new(fault.code.as_deref().unwrap_or("INTERNAL_ERROR"), fault.params))
    }

    /// Waits as long as a fault in mid-stream says.
    pub(crate) async fn pause(&self, fault: Fault, path: &'static str) {
        let mut cleared = self.0.cleared.subscribe();
        if !fault.duration().is_zero() {
            tokio::time::sleep(fault.duration()).await;
        } else {
            let _held = self.hold(path, When::During);
            let _ = cleared.changed().await;
        }
    }

    fn hold(&self, method: &str, when: When) -> Held<'_> {
        let mut state = self.lock();
        state.stalls += 1;
        let number = state.stalls;
        state.stalled.push(Stalled { method: method.to_owned(), when, number });
        Held { faults: self, number }
    }

    /// The faults that still wait.
    pub fn armed(&self) -> Vec<Fault> {
        self.lock().armed.clone()
    }

    /// How often faults of a kind have struck.
    pub fn struck(&self, kind: FaultKind) -> u64 {
        self.lock().struck.get(&kind).copied().unwrap_or(0)
    }

    /// How often each kind has struck.
    pub fn strikes(&self) -> HashMap<FaultKind, u64> {
        self.lock().struck.clone()
    }

    /// Asks whether this goes wrong now: uses up one strike of the first fault of the kind.
    pub fn strike(&self, kind: FaultKind) -> Option<Fault> {
        self.strike_if(|fault| fault.kind == kind)
    }

    fn strike_if(&self, is_meant: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let mut state = self.lock();
        let position = state.armed.iter().position(is_meant)?;
        let fault = &mut state.armed[position];
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        let found = fault.clone();
        if let Some(times) = &mut fault.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                state.armed.remove(position);
            }
        }
        *state.struck.entry(found.kind).or_default() += 1;
        Some(found)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a call in the list of those that hang, for as long as somebody waits for it.
struct Held<'a> {
    faults: &'a Faults,
    number: u64,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.faults.lock().stalled.retain(|stalled| stalled.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_fault_is_spared_then_strikes_then_is_gone() {
        let faults = Faults::default();
        faults.arm(Fault { skip: 1, ..Fault::new(FaultKind::VdiInUse).times(2) });
        let struck: Vec<bool> = (0..4).map(|_| faults.strike(FaultKind::VdiInUse).is_some()).collect();
        assert_eq!(struck, [false, true, true, false]);
        assert_eq!(faults.struck(FaultKind::VdiInUse), 2);
        assert!(faults.strike(FaultKind::CutExport).is_none());
    }

    #[test]
    fn faults_are_written_in_short() {
        let fault: Fault = serde_json::from_str(r#"{"kind":"cut_export","at_byte":5}"#).unwrap();
        assert_eq!((fault.kind, fault.at_byte, fault.times), (FaultKind::CutExport, 5, Some(1)));
        assert!(serde_json::from_str::<Fault>(r#"{"kind":"cut_export","at_bite":5}"#).is_err());
        let call: Fault =
            serde_json::from_str(r#"{"kind":"stall_call","method":"VM.destroy","when":"after","nth":2}"#).unwrap();
        assert_eq!((call.when, call.nth), (Some(When::After), Some(2)));
    }

    #[tokio::test]
    async fn a_stalled_call_is_seen_and_goes_on() {
        let faults = Faults::default();
        faults.arm(Fault::stall_call("VM.destroy", When::Before));
        faults.stall("VM.destroy", When::After).await;
        faults.stall("VM.start", When::Before).await;
        let waiting = tokio::spawn({
            let faults = faults.clone();
            async move { faults.stall("VM.destroy", When::Before).await }
        });
        while faults.stalled().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(faults.stalled()[0].method, "VM.destroy");
        faults.clear();
        waiting.await.unwrap();
        assert!(faults.stalled().is_empty());
    }
}
