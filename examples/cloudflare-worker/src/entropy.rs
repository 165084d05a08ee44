//! The random generator of a Worker.

use holdall::{Error, service::EntropySource};
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues, catch)]
    fn get_random_values(bytes: &mut [u8]) -> Result<JsValue, JsValue>;
}

/// Random bytes from the platform's Web Crypto API.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IsolateEntropy;

impl EntropySource for IsolateEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error> {
        let filled = get_random_values(bytes);
        filled.map(drop).map_err(|_| Error::Internal { cause: "crypto.getRandomValues failed".to_owned() })
    }
}
