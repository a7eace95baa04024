//! The client side of the API, for the commands that ask a running network.

use crate::error::Error;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::time::Duration;
use ureq::{Agent, Body, RequestBuilder, http::Response};

/// The longest answer that is read whole.
const MAX_BODY_BYTES: u64 = 16 << 20;

/// A connection to one API.
pub(crate) struct Client {
    api: String,
    agent: Agent,
    /// What `SKEP_API_KEY` holds: another machine asks for a key.
    key: Option<String>,
}

impl Client {
    /// Talks to the API at `api`, such as `http://127.0.0.1:7537`.
    pub(crate) fn new(api: &str) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(3)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .build();
        let key = std::env::var("SKEP_API_KEY").ok().filter(|key| !key.is_empty());
        Self { api: api.trim_end_matches('/').to_owned(), agent: config.into(), key }
    }

    /// The JSON at `path`.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Error> {
        let request = self.agent.get(format!("{}{path}", self.api));
        self.json(self.with_key(request).call())
    }

    /// The text at `path`.
    pub(crate) fn text(&self, path: &str) -> Result<String, Error> {
        let request = self.agent.get(format!("{}{path}", self.api));
        let mut answer = self.checked(self.with_key(request).call())?;
        let text = answer.body_mut().with_config().limit(MAX_BODY_BYTES).read_to_string();
        text.map_err(|error| self.no_api(&error))
    }

    /// Posts JSON and reads the JSON answer.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, Error> {
        let response = self.send(path, body);
        self.json(response)
    }

    /// Posts JSON and calls `on_data` with each server-sent event until `[DONE]`.
    pub(crate) fn post_stream(
        &self,
        path: &str,
        body: &Value,
        mut on_data: impl FnMut(&Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let response = self.send(path, body);
        let mut response = self.checked(response)?;
        let lines = BufReader::new(response.body_mut().as_reader()).lines();
        for line in lines {
            let line = line.map_err(|error| self.no_api(&error))?;
            match line.strip_prefix("data: ") {
                Some("[DONE]") => return Ok(()),
                Some(data) => {
                    let data: Value = serde_json::from_str(data).map_err(|error| self.not_skep(&error))?;
                    if data.get("error").is_some() {
                        return Err(refusal(&data, 502));
                    }
                    on_data(&data)?;
                }
                None => {}
            }
        }
        Err(Error::NoApi { api: self.api.clone(), reason: "the answer broke off".into() })
    }

    fn send(&self, path: &str, body: &Value) -> Result<Response<Body>, ureq::Error> {
        let request = self.agent.post(format!("{}{path}", self.api)).header("content-type", "application/json");
        self.with_key(request).send(body.to_string())
    }

    fn with_key<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.key {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        }
    }

    fn json(&self, response: Result<Response<Body>, ureq::Error>) -> Result<Value, Error> {
        let text = self.checked(response)?.body_mut().with_config().limit(MAX_BODY_BYTES).read_to_string();
        let text = text.map_err(|error| self.no_api(&error))?;
        serde_json::from_str(&text).map_err(|error| self.not_skep(&error))
    }

    /// The response, if the API answered and did not refuse.
    fn checked(&self, response: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, Error> {
        let mut response = response.map_err(|error| self.no_api(&error))?;
        let status = response.status().as_u16();
        if status < 400 {
            return Ok(response);
        }
        let text = response.body_mut().read_to_string().map_err(|error| self.no_api(&error))?;
        let body = serde_json::from_str(&text).map_err(|error| self.not_skep(&error))?;
        Err(refusal(&body, status))
    }

    fn no_api(&self, error: &impl ToString) -> Error {
        Error::NoApi { api: self.api.clone(), reason: error.to_string() }
    }

    fn not_skep(&self, error: &impl ToString) -> Error {
        Error::NotSkep { api: self.api.clone(), reason: error.to_string() }
    }
}

fn refusal(body: &Value, status: u16) -> Error {
    let message = body["error"]["message"].as_str().unwrap_or("the API refused without a reason");
    let (message, hint) =
        message.split_once("\nhint: ").unwrap_or((message, "SKEP_LOG=info at the gateway shows more"));
    Error::Api { message: message.to_owned(), hint: hint.to_owned(), status }
}
