//! `GET /metrics`: what is counted, in Prometheus' text format 0.0.4, for the owner.
//!
//! Names of answers are those of OpenTelemetry's conventions for generative AI, as its rules spell them for Prometheus: dots become
//! underscores, and the unit ends the name. The rest begins with `skep_`. Labels take few values: operations, the first 16 models, kinds of token,
//! codes of errors, states.

use crate::Api;
use crate::backend::Backend;
use crate::stats::{Counts, Histogram};
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use skep_node::{MachineView, NetworkView, State as Lent};
use std::fmt::Write;

type Labels<'a> = [(&'a str, &'a str)];

/// A text in the format, family by family.
#[derive(Default)]
struct Exposition(String);

pub(crate) async fn show<B: Backend>(State(api): State<Api<B>>) -> impl IntoResponse {
    let mut text = Exposition::default();
    let version = env!("CARGO_PKG_VERSION");
    text.gauge("skep_build_info", "The version that runs; always 1.", &[(&[("version", version)], 1.0)]);
    let up = crate::routes::now().saturating_sub(api.started);
    text.gauge("skep_uptime_seconds", "Seconds since this process began to answer.", &[(&[], up as f64)]);
    let keys = api.config.keys.count();
    text.gauge("skep_api_keys", "Keys with which other machines may ask this one.", &[(&[], keys as f64)]);
    text.network(&api.backend.network());
    if let Some(machine) = api.backend.machine() {
        text.machine(&machine);
    }
    text.answers(&api.stats.lock());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text.0)
}

impl Exposition {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &Labels<'_>, value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{}\"", if index == 0 { '{' } else { ',' }, escaped(text));
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn gauge(&mut self, name: &str, help: &str, samples: &[(&Labels<'_>, f64)]) {
        self.head(name, help, "gauge");
        for (labels, value) in samples {
            self.sample(name, labels, value);
        }
    }

    /// A gauge of one value that may be unknown or without a limit, and then has no sample.
    fn perhaps(&mut self, name: &str, help: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.gauge(name, help, &[(&[], value as f64)]);
        }
    }

    fn histogram(&mut self, name: &str, labels: &Labels<'_>, histogram: &Histogram) {
        let bucket = format!("{name}_bucket");
        let mut so_far = 0u64;
        let bounds = histogram.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(&histogram.counts) {
            so_far = so_far.saturating_add(*count);
            let with: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.sample(&bucket, &with, so_far);
        }
        self.sample(&format!("{name}_sum"), labels, histogram.sum);
        self.sample(&format!("{name}_count"), labels, so_far);
    }

    fn network(&mut self, view: &NetworkView) {
        let alive = view.nodes.iter().filter(|node| node.alive).count();
        let gone = view.nodes.len() - alive;
        let states: [(&Labels<'_>, f64); 2] =
            [(&[("state", "alive")], alive as f64), (&[("state", "gone")], gone as f64)];
        self.gauge("skep_network_nodes", "Nodes of the network, as this one sees them.", &states);
        let whole = f64::from(u8::from(view.model.available));
        self.gauge("skep_model_available", "1 while every block of the model is held by a live node.", &[(&[], whole)]);
        let help = "Answers under way that were asked of this node.";
        self.gauge("skep_answers_active", help, &[(&[], view.active.into())]);
    }

    fn machine(&mut self, view: &MachineView) {
        let is = |state| f64::from(u8::from(view.state == state));
        let states: [(&Labels<'_>, f64); 3] = [
            (&[("state", "lending")], is(Lent::Lending)),
            (&[("state", "finishing")], is(Lent::Finishing)),
            (&[("state", "paused")], is(Lent::Paused)),
        ];
        self.gauge("skep_machine_state", "1 for the state that the machine is in.", &states);
        let (used, caps) = (&view.used, view.caps.as_ref());
        let cpu = [(&[][..], used.cpu_percent / 100.0)];
        self.gauge("skep_machine_cpu_use_ratio", "Share of all processors that Skep took in the last second.", &cpu);
        if let Some(caps) = caps {
            let cap = [(&[][..], f64::from(caps.cpu_percent) / 100.0)];
            self.gauge("skep_machine_cpu_cap_ratio", "Share of all processors that may be lent now.", &cap);
        }
        let sensed = [
            ("skep_machine_memory_use_bytes", "Memory that Skep takes.", Some(used.memory_bytes)),
            ("skep_machine_memory_cap_bytes", "Memory that may be lent now.", caps.map(|caps| caps.memory_bytes)),
            ("skep_machine_weights_bytes", "Weights that are mapped into memory.", Some(used.weights_bytes)),
            ("skep_machine_disk_use_bytes", "Weights on the disk.", Some(used.disk_bytes)),
            ("skep_machine_disk_cap_bytes", "Disk that may hold weights.", caps.and_then(|caps| caps.disk_bytes)),
            ("skep_machine_upload_bytes_per_second", "Bytes sent in the last second.", Some(used.upload)),
            (
                "skep_machine_upload_cap_bytes_per_second",
                "Bytes that may be sent in a second.",
                caps.and_then(|caps| caps.upload),
            ),
            ("skep_machine_download_bytes_per_second", "Bytes received in the last second.", Some(used.download)),
            (
                "skep_machine_download_cap_bytes_per_second",
                "Bytes that may be received in a second.",
                caps.and_then(|caps| caps.download),
            ),
            (
                "skep_machine_transferred_today_bytes",
                "Bytes sent and received since local midnight.",
                Some(used.transferred_today_bytes),
            ),
            ("skep_machine_sessions", "Answers of others that this machine works for.", Some(used.work.into())),
        ];
        for (name, help, value) in sensed {
            self.perhaps(name, help, value);
        }
    }

    fn answers(&mut self, counts: &Counts) {
        self.head("skep_http_responses_total", "Answers of HTTP, by the class of their status.", "counter");
        for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"].iter().zip(counts.http) {
            self.sample("skep_http_responses_total", &[("class", class)], count);
        }
        for family in counts.families() {
            self.head(family.name, family.help, "histogram");
            for (labels, histogram) in &family.samples {
                self.histogram(family.name, labels, histogram);
            }
        }
    }
}

/// A value of a label, as the format writes it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
