//! The settings that say who may call.

use toml::{Table, Value};

use crate::config::{ConfigBuilder, Sources, variables::settings};

settings! {
    /// The settings that say who may call.
    pub struct CallerSettings in "Callers" {
        /// Who vouches for callers: none, header, jwt or api_key [default: none]
        identity: Option<String> = "HOLDALL_IDENTITY" (value_name = "MODE"),
        /// `iss` of callers' JSON Web Tokens
        jwt_issuer: Option<String> = "HOLDALL_JWT_ISSUER" (value_name = "TEXT"),
        /// Accepted `aud`, several parted by commas
        jwt_audience: Vec<String> = "HOLDALL_JWT_AUDIENCE" (value_name = "TEXT", value_delimiter = ','),
        /// Where the issuer publishes its key set
        jwt_jwks_url: Option<String> = "HOLDALL_JWT_JWKS_URL" (value_name = "URL"),
        /// Key set in a file instead
        jwt_jwks_file: Option<String> = "HOLDALL_JWT_JWKS_FILE" (value_name = "FILE"),
        /// A single key instead: PEM, or the bytes of a shared secret
        jwt_key_file: Option<String> = "HOLDALL_JWT_KEY_FILE" (value_name = "FILE"),
        /// Keys of callers, one `digest user` a line
        api_keys_file: Option<String> = "HOLDALL_API_KEYS_FILE" (value_name = "FILE"),
        /// Header in which a proxy names the user
        header_name: Option<String> = "HOLDALL_HEADER_NAME" (value_name = "NAME"),
        /// Addresses and networks of such proxies, parted by commas
        header_peers: Vec<String> = "HOLDALL_HEADER_PEERS" (value_name = "NETWORKS", value_delimiter = ','),
        /// Header in which they show their secret [default: x-holdall-secret]
        header_secret_header: Option<String> = "HOLDALL_HEADER_SECRET_HEADER" (value_name = "NAME"),
        /// The secret; HOLDALL_HEADER_SECRET can hold it instead
        header_secret_file: Option<String> = "HOLDALL_HEADER_SECRET_FILE" (value_name = "FILE"),
        /// SHA-256 digests of operators' keys, parted by commas
        operator_keys: Vec<String> = "HOLDALL_OPERATOR_KEYS" (value_name = "DIGESTS", value_delimiter = ','),
        /// Proxies whose X-Forwarded-For is believed for counting callers without a name, parted by commas
        trusted_proxies: Vec<String> = "HOLDALL_TRUSTED_PROXIES" (value_name = "NETWORKS", value_delimiter = ','),
        /// Origins whose pages may call, parted by commas [default: none]
        cors_origins: Vec<String> = "HOLDALL_CORS_ORIGINS" (value_name = "ORIGINS", value_delimiter = ','),
        /// Let anyone who reaches the port name any user
        dangerous_open: Option<bool> = "HOLDALL_DANGEROUS_OPEN" (
            value_name = "BOOL",
            value_parser = clap::builder::BoolishValueParser::new(),
            num_args = 0..=1,
            require_equals = true,
            default_missing_value = "true"
        ),
    }
}

impl CallerSettings {
    /// Lays these settings over the builder's own.
    pub(super) fn apply(&self, builder: &mut ConfigBuilder, sources: &impl Sources) {
        builder.set_some("operator_keys", list(&self.operator_keys));
        builder.set_some("trusted_proxies", list(&self.trusted_proxies));
        builder.set_some("cors_origins", list(&self.cors_origins));
        builder.set_some("dangerous_open", self.dangerous_open);
        let identity = self.identity(sources);
        builder.set_some("identity", (!identity.is_empty()).then_some(identity));
    }

    /// The table `identity`, empty where nothing is set.
    fn identity(&self, sources: &impl Sources) -> Table {
        let secret = sources.variable("HOLDALL_HEADER_SECRET");
        table([
            ("mode", text(self.identity.as_ref())),
            ("api_key", nested([("keys_file", text(self.api_keys_file.as_ref()))])),
            (
                "header",
                nested([
                    ("name", text(self.header_name.as_ref())),
                    ("peers", list(&self.header_peers)),
                    ("secret_header", text(self.header_secret_header.as_ref())),
                    ("secret_file", text(self.header_secret_file.as_ref())),
                    ("secret", secret.map(|secret| Value::from(secret.as_str()))),
                ]),
            ),
            (
                "jwt",
                nested([
                    ("issuer", text(self.jwt_issuer.as_ref())),
                    ("audience", list(&self.jwt_audience)),
                    ("jwks_file", text(self.jwt_jwks_file.as_ref())),
                    ("jwks_url", text(self.jwt_jwks_url.as_ref())),
                    ("key_file", text(self.jwt_key_file.as_ref())),
                ]),
            ),
        ])
    }
}

fn text(value: Option<&String>) -> Option<Value> {
    value.map(|value| value.as_str().into())
}

fn list(values: &[String]) -> Option<Value> {
    (!values.is_empty()).then(|| values.to_vec().into())
}

fn nested<const N: usize>(members: [(&str, Option<Value>); N]) -> Option<Value> {
    Some(table(members)).filter(|table| !table.is_empty()).map(Value::Table)
}

fn table<const N: usize>(members: [(&str, Option<Value>); N]) -> Table {
    members.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}
