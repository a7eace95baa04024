//! `skep top`: this machine and its network, live.

use crate::args::AskArgs;
use crate::chat::explain;
use crate::client::Client;
use crate::error::Error;
use crate::{machine, output, status};
use clap::Args as ClapArgs;
use console::{Key, Term, style};
use serde_json::Value;
use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// How often it looks: as often as a node reads its own sensors.
const EVERY: Duration = Duration::from_secs(1);
/// Cells of a bar.
const BAR: usize = 24;
/// Moments of which a line shows the past.
const PAST: usize = 40;

#[derive(Debug, ClapArgs)]
pub(crate) struct TopArgs {
    /// Show it once and end
    #[arg(long)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

/// Shows the picture until a key ends it.
pub(crate) fn run(args: &TopArgs) -> Result<(), Error> {
    let client = Client::new(&args.ask.api);
    let mut top = Top::default();
    top.look(&client)?;
    let term = Term::stdout();
    let live = !args.once && (term.is_term() || args.ask.json);
    if args.ask.json {
        return top.stream(&client, !live);
    }
    if !live {
        return top.lines(&args.ask.api).into_iter().try_for_each(output::line);
    }
    let screen = Screen::take(term).map_err(terminal)?;
    let keys = keys();
    loop {
        screen.draw(&top.lines(&args.ask.api)).map_err(terminal)?;
        match keys.recv_timeout(EVERY) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            // A node that restarts is back in a moment; what is shown meanwhile says that nobody answers.
            Err(RecvTimeoutError::Timeout) => top.lost = top.look(&client).err().map(|fault| fault.to_string()),
        }
    }
}

/// Tells once a key was pressed that ends it. The thread waits for the terminal, so it ends with the process.
fn keys() -> Receiver<()> {
    let (pressed, keys) = channel();
    std::thread::spawn(move || {
        let term = Term::stdout();
        loop {
            match term.read_key_raw() {
                Ok(Key::Char('q' | 'Q') | Key::Escape | Key::CtrlC) | Err(_) => break,
                Ok(_) => {}
            }
        }
        // The window may be closed already.
        let _ = pressed.send(());
    });
    keys
}

fn terminal(source: io::Error) -> Error {
    Error::System { what: "drawing on the terminal".into(), source }
}

/// A screen of its own, given back at the end with what stood on it before.
struct Screen(Term);

impl Screen {
    fn take(term: Term) -> io::Result<Self> {
        term.write_str("\u{1b}[?1049h")?;
        term.hide_cursor()?;
        Ok(Self(term))
    }

    fn draw(&self, lines: &[String]) -> io::Result<()> {
        let (rows, columns) = self.0.size();
        let (rows, columns) = (usize::from(rows), usize::from(columns));
        let mut text = String::from("\u{1b}[H");
        for line in lines.iter().take(rows.saturating_sub(1)) {
            text.push_str(&console::truncate_str(line, columns.saturating_sub(1), "…"));
            text.push_str("\u{1b}[K\n");
        }
        text.push_str("\u{1b}[J");
        self.0.write_str(&text)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.0.show_cursor();
        let _ = self.0.write_str("\u{1b}[?1049l");
    }
}

/// What was seen.
#[derive(Default)]
struct Top {
    network: Value,
    /// Null where the API's node keeps to no limits.
    machine: Value,
    /// The processors' use of the last moments, oldest first, in percent.
    past: VecDeque<f64>,
    /// Why the last look found nobody.
    lost: Option<String>,
}

impl Top {
    fn look(&mut self, client: &Client) -> Result<(), Error> {
        self.network = client.get("/skep/v1/network")?;
        self.machine = machine::of(client)?.unwrap_or(Value::Null);
        self.past.push_back(self.machine["use"]["cpu_percent"].as_f64().unwrap_or(0.0));
        if self.past.len() > PAST {
            self.past.pop_front();
        }
        Ok(())
    }

    /// A line of JSON for each look.
    fn stream(&mut self, client: &Client, once: bool) -> Result<(), Error> {
        loop {
            let mut seen = self.network.clone();
            seen["machine"] = self.machine.clone();
            output::line(seen)?;
            if once {
                return Ok(());
            }
            std::thread::sleep(EVERY);
            self.look(client)?;
        }
    }

    fn lines(&self, api: &str) -> Vec<String> {
        let mut lines = vec![format!("{}  {api}  (q ends)", style("skep").bold()), String::new()];
        if let Some(lost) = &self.lost {
            lines.extend([style(lost.clone()).red().to_string(), String::new()]);
        }
        if self.machine.is_object() {
            let sentence = style(machine::sentence(&self.machine));
            let lent = self.machine["state"] == "lending";
            lines.extend([(if lent { sentence.green() } else { sentence.yellow() }).to_string(), String::new()]);
            lines.extend(self.meters());
            lines.push(String::new());
        }
        lines.push(status::headline(&self.network));
        lines.push(status::HEADER.to_owned());
        lines.extend(status::rows(&self.network));
        if self.network["last_answer"].is_object() {
            lines.extend([String::new(), format!("last answer: {}", explain(&self.network["last_answer"]))]);
        }
        lines
    }

    /// What may be used beside what is, with a bar where there is a limit.
    fn meters(&self) -> Vec<String> {
        let share = |name: &str| {
            let (cap, used) = match name {
                "processors" => ("cpu_percent", "cpu_percent"),
                "memory" => ("memory_bytes", "memory_bytes"),
                "disk" => ("disk_bytes", "disk_bytes"),
                "sending" => ("upload", "upload"),
                "receiving" => ("download", "download"),
                _ => return None,
            };
            let (cap, used) = (self.machine["caps"][cap].as_f64()?, self.machine["use"][used].as_f64()?);
            (cap > 0.0).then(|| (used / cap).clamp(0.0, 1.0))
        };
        // Nothing computes on graphics yet.
        let rows = machine::rows(&self.machine).into_iter().filter(|(name, ..)| *name != "graphics");
        let line = |(name, allowed, used): (&str, String, String)| {
            let bar = share(name).map(bar).unwrap_or_default();
            let past = if name == "processors" { spark(&self.past) } else { String::new() };
            // While nothing is lent, what is used is this machine's own business.
            let lent = !self.machine["caps"].is_null() && !allowed.is_empty();
            let of = if lent { format!("of {allowed}") } else { String::new() };
            format!("  {name:<11}{bar:<BAR$}  {used:>24} {of:<24}{past}").trim_end().to_owned()
        };
        rows.map(line).collect()
    }
}

/// A bar that is full to this share.
fn bar(share: f64) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between nothing and all cells")]
    let full = (share * BAR as f64).round() as usize;
    format!("{}{}", "█".repeat(full), "░".repeat(BAR - full))
}

/// The past as a row of small columns; the highest is the highest seen, at least one percent.
fn spark(past: &VecDeque<f64>) -> String {
    const COLUMNS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let highest = past.iter().copied().fold(1.0, f64::max);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between nothing and the highest")]
    let column = |value: &f64| COLUMNS[((value.max(0.0) / highest * 7.0).round() as usize).min(7)];
    past.iter().map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_picture_has_bars_where_there_are_limits() {
        let caps = json!({"cpu_percent": 50, "memory_bytes": 1 << 30, "gpu": false, "upload": null});
        let used = json!({"cpu_percent": 25.0, "memory_bytes": 1 << 28, "upload": 1024, "work": 1});
        let machine = json!({"state": "lending", "caps": caps, "use": used});
        let top = Top { machine, past: [0.0, 12.5, 25.0].into(), ..Top::default() };
        let meters = top.meters();
        let half = format!("  processors {}{}  ", "█".repeat(12), "░".repeat(12));
        assert!(
            meters[0].starts_with(&half) && meters[0].ends_with("25 % of 50 %                 ▁▅█"),
            "{}",
            meters[0]
        );
        assert!(meters[1].contains(&format!("{}{}", "█".repeat(6), "░".repeat(18))), "{}", meters[1]);
        let sending = meters.iter().find(|line| line.starts_with("  sending")).unwrap();
        assert!(!sending.contains('█') && sending.ends_with("1.00 KiB per second of no limit"), "{sending}");
    }

    #[test]
    fn bars_and_columns_keep_to_their_bounds() {
        assert_eq!((bar(0.0), bar(1.0)), ("░".repeat(BAR), "█".repeat(BAR)));
        assert_eq!(spark(&[0.0, -1.0, 0.5, 1000.0].into()), "▁▁▁█");
        assert_eq!(spark(&VecDeque::new()), "");
    }
}
