//! Policy decisions: the Rego bundle compiled to WebAssembly, evaluated in a supervised pool.
