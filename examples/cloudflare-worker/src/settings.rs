//! Bindings as settings: a variable is a binding of its name, and so is a file.

use std::cell::RefCell;

use holdall::config::{Config, ConfigError, Sources};
use wasm_bindgen::JsValue;
use worker::{Env, js_sys::Reflect};
use zeroize::Zeroizing;

/// The configuration that the bindings make.
///
/// # Errors
/// The first thing that keeps it from starting.
pub(crate) fn load(env: &Env) -> Result<Config, ConfigError> {
    let bindings = Bindings { env, unlike: RefCell::default() };
    let config = Config::of_isolate(&bindings);
    // Told before any other fault, which may be of its making.
    match bindings.unlike.into_inner() {
        None => config,
        Some(name) => Err(ConfigError::Settings {
            fault: format!("{name}: the binding is no text, number or truth value"),
            hint: Some("make it a variable under [vars], or a secret by `wrangler secret put`".to_owned()),
        }),
    }
}

struct Bindings<'a> {
    env: &'a Env,
    /// The first binding that was asked for and cannot be a setting. To take it for one that is not set would drop what
    /// the operator meant by it.
    unlike: RefCell<Option<String>>,
}

impl Sources for Bindings<'_> {
    fn file(&self, path: &str) -> Result<Zeroizing<String>, String> {
        self.variable(path).ok_or_else(|| "there is no such binding, which stands for a file here".to_owned())
    }

    fn variable(&self, name: &str) -> Option<Zeroizing<String>> {
        let value = Reflect::get(self.env, &JsValue::from_str(name)).ok()?;
        if value.is_undefined() || value.is_null() {
            return None;
        }
        let Some(text) = text(&value) else {
            self.unlike.borrow_mut().get_or_insert_with(|| name.to_owned());
            return None;
        };
        Some(text).filter(|text| !text.is_empty()).map(Zeroizing::new)
    }
}

/// What a binding says. Numbers and truth values under `[vars]` come as such.
fn text(value: &JsValue) -> Option<String> {
    let number = || value.as_f64().map(|number| number.to_string());
    let truth = || value.as_bool().map(|truth| truth.to_string());
    value.as_string().or_else(number).or_else(truth)
}
