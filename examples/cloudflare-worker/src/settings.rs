//! Bindings as settings: a variable is a binding of its name, and so is a file.

use holdall::config::{Config, ConfigError, Sources};
use wasm_bindgen::JsValue;
use worker::{Env, js_sys::Reflect};
use zeroize::Zeroizing;

/// The configuration that the bindings make.
///
/// # Errors
/// The first thing that keeps it from starting.
pub(crate) fn load(env: &Env) -> Result<Config, ConfigError> {
    Config::of_isolate(&Bindings(env))
}

struct Bindings<'a>(&'a Env);

impl Sources for Bindings<'_> {
    fn file(&self, path: &str) -> Result<Zeroizing<String>, String> {
        self.variable(path).ok_or_else(|| "there is no such binding, which stands for a file here".to_owned())
    }

    fn variable(&self, name: &str) -> Option<Zeroizing<String>> {
        let value = Reflect::get(self.0, &JsValue::from_str(name)).ok()?;
        value.as_string().filter(|value| !value.is_empty()).map(Zeroizing::new)
    }
}
