//! The sandbox a policy runs in: one compiled module, instances with a memory limit, evaluations with a deadline.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use opa_wasm::{DefaultContext, Policy, Runtime};
use record::decision::PolicyFault;
use serde_json::value::RawValue;
use tracing::Dispatch;
use wasmtime::{Config, Module, ResourceLimiter, Store, Trap};

use crate::answer::detail;
use crate::bundle::Bundle;
use crate::ticker::{Ticker, Watch};

/// Deadlines are counted in so many ticks.
const TICKS: u64 = 5;
/// An instance may take so many deadlines to come up: it reads the tables as well.
const START_DEADLINES: u64 = 20;
/// Elements of a table; OPA's modules have a few hundred functions.
const TABLE_ELEMENTS_MAX: usize = 65_536;
/// Stack of a module, and of the thread-like stack that it runs on together with the host's calls.
const WASM_STACK_BYTES: usize = 512 * 1024;
const ASYNC_STACK_BYTES: usize = 1024 * 1024;

/// What an evaluation may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) memory_max_bytes: usize,
    pub(crate) deadline_ms: u64,
}

/// A module that is compiled once and instantiated many times.
pub(crate) struct Sandbox {
    engine: wasmtime::Engine,
    module: Module,
    data: Box<RawValue>,
    entrypoint: String,
    limits: Limits,
    ticker: Ticker,
}

/// Why a module cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("the module cannot be compiled: {0}")]
    Module(String),
    #[error("the module cannot be started: {0}")]
    Start(String),
    #[error("the module has no entry point of the name the manifest gives")]
    Entrypoint,
    #[error("the thread that limits evaluation time cannot be started")]
    Thread(#[source] std::io::Error),
}

/// One instance: evaluates one question at a time.
pub(crate) struct Instance {
    store: Store<Meter>,
    policy: Policy<DefaultContext>,
    evaluations: u32,
}

impl Sandbox {
    /// Compiles the bundle's module: some 300 ms, off the path of requests.
    pub(crate) fn new(bundle: &Bundle, limits: Limits) -> Result<Self, Unusable> {
        let mut config = Config::new();
        config
            .epoch_interruption(true)
            .max_wasm_stack(WASM_STACK_BYTES)
            .async_stack_size(ASYNC_STACK_BYTES)
            .wasm_backtrace_max_frames(None)
            .wasm_multi_memory(false)
            .wasm_memory64(false)
            .wasm_tail_call(false)
            .wasm_relaxed_simd(false)
            .wasm_simd(false);
        let module = |e: wasmtime::Error| Unusable::Module(detail(&format!("{e:#}")));
        let engine = wasmtime::Engine::new(&config).map_err(module)?;
        // `Module::new` would also take the text format; a bundle holds the binary one.
        let module = Module::from_binary(&engine, bundle.wasm()).map_err(module)?;
        let data = serde_json::value::to_raw_value(&serde_json::json!({"tables": bundle.tables()}))
            .map_err(|e| Unusable::Start(detail(&e.to_string())))?;
        let period = Duration::from_millis((limits.deadline_ms / TICKS).max(1));
        let ticking = engine.weak();
        let ticker = Ticker::start(period, move || {
            if let Some(engine) = ticking.upgrade() {
                engine.increment_epoch();
            }
        })
        .map_err(Unusable::Thread)?;
        Ok(Self {
            engine,
            module,
            data,
            entrypoint: bundle.manifest().entrypoint.clone(),
            limits,
            ticker,
        })
    }

    /// While the guard lives, time counts. To be held around everything that runs the module.
    pub(crate) fn watch(&self) -> Watch<'_> {
        self.ticker.watch()
    }

    /// A new instance with the tables in its memory: some 0.5 ms.
    pub(crate) fn instance(&self) -> Result<Instance, Unusable> {
        let mut store = Store::new(&self.engine, Meter::new(self.limits.memory_max_bytes));
        store.limiter(|meter| meter);
        store.set_epoch_deadline(TICKS * START_DEADLINES);
        let started = drive(async {
            let runtime = Runtime::new(&mut store, &self.module).await?;
            runtime.with_data(&mut store, &self.data).await
        });
        let policy = match started {
            Some(Ok(policy)) => policy,
            Some(Err(error)) => return Err(Unusable::Start(reason(error.as_ref(), store.data()))),
            None => return Err(Unusable::Start("it waits for something".to_owned())),
        };
        if !policy.entrypoints().contains(self.entrypoint.as_str()) {
            return Err(Unusable::Entrypoint);
        }
        Ok(Instance {
            store,
            policy,
            evaluations: 0,
        })
    }

    /// Evaluates the entry point. After an error the instance is spoilt and must be dropped.
    ///
    /// The answer is OPA's result set as text; nothing about it is checked but that it is JSON.
    pub(crate) fn evaluate(
        &self,
        instance: &mut Instance,
        input: &RawValue,
    ) -> Result<Box<RawValue>, PolicyFault> {
        instance.evaluations = instance.evaluations.saturating_add(1);
        // The running tick may be almost over, hence one more.
        instance.store.set_epoch_deadline(TICKS + 1);
        let evaluated = drive(instance.policy.evaluate::<_, Box<RawValue>, _>(
            &mut instance.store,
            &self.entrypoint,
            &input,
        ));
        match evaluated {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => Err(PolicyFault::Engine(reason(
                error.as_ref(),
                instance.store.data(),
            ))),
            None => Err(PolicyFault::Engine("it waits for something".to_owned())),
        }
    }
}

impl Instance {
    /// Evaluations so far.
    pub(crate) const fn evaluations(&self) -> u32 {
        self.evaluations
    }

    /// Bytes of memory it holds; memory never shrinks.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.store.data().bytes
    }
}

/// Counts and limits the memory of one instance.
struct Meter {
    bytes: usize,
    bytes_max: usize,
    refused: bool,
}

impl Meter {
    const fn new(bytes_max: usize) -> Self {
        Self {
            bytes: 0,
            bytes_max,
            refused: false,
        }
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // The sum, so that a module with memories of its own beside OPA's gets no more.
        let total = (self.bytes - current.min(self.bytes)).saturating_add(desired);
        if total > self.bytes_max {
            self.refused = true;
            return Ok(false);
        }
        self.bytes = total;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        1
    }

    fn memories(&self) -> usize {
        2
    }

    fn tables(&self) -> usize {
        4
    }
}

/// Runs a future that never really waits, on the calling thread.
///
/// The interface of opa-wasm is async, but everything behind it is ready at once: no builtin waits, and
/// interruption is a trap, not a yield. `unconstrained`, because inside a tokio task the locks it takes
/// would count against the task's budget and at last answer "pending" for no other reason.
fn drive<F: Future>(future: F) -> Option<F::Output> {
    // The crate below writes a policy's own words and several spans per call to the log: not wanted.
    tracing::dispatcher::with_default(&Dispatch::none(), || {
        let future = pin!(tokio::task::unconstrained(future));
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    })
}

/// Says what stopped an evaluation, in words for the security administrator.
fn reason(error: &(dyn std::error::Error + 'static), meter: &Meter) -> String {
    if meter.refused {
        return "it needs more memory than it may have".to_owned();
    }
    let mut cause = Some(error);
    let mut words = String::new();
    while let Some(e) = cause {
        match e.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => return "it ran out of time".to_owned(),
            Some(Trap::StackOverflow) => return "it needs more stack than it may have".to_owned(),
            _ => {}
        }
        if !words.is_empty() {
            words.push_str(": ");
        }
        words.push_str(&e.to_string());
        cause = e.source();
    }
    detail(&words)
}
