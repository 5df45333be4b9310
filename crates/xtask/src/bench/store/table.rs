//! The figures as raw lines and as a page.

use std::fmt::Write;
use std::time::Duration;

use super::servers::{Running, ServerKind};

const GIB: f64 = 1_073_741_824.0;
const MIB: f64 = 1_048_576.0;

/// Goals: as fast as the better of the others, at this part of its processor time, and nobody waits longer than this.
const CPU_PART_MAX: f64 = 0.7;
const FAIRNESS_MAX: f64 = 2.0;

/// One server's turn.
#[derive(Debug)]
pub(super) struct Row {
    what: String,
    server: ServerKind,
    round: usize,
    accounts: usize,
    bytes: u64,
    wall_seconds: f64,
    cpu_seconds: f64,
    /// Of the logins before, which are in none of the other figures.
    login_cpu_seconds: f64,
    peak_mib: f64,
    median_seconds: f64,
    slowest_seconds: f64,
    pub(super) errors: u64,
    load_before: f64,
}

impl Row {
    #[allow(clippy::too_many_arguments)] // each is a column
    pub(super) fn new(
        what: String,
        server: &Running,
        round: usize,
        accounts: usize,
        bytes: u64,
        wall_seconds: f64,
        [cpu_seconds, login_cpu_seconds]: [f64; 2],
        times: &mut [Duration],
        errors: u64,
        load_before: f64,
    ) -> Self {
        times.sort_unstable();
        let median_seconds = times.get(times.len() / 2).map_or(f64::NAN, Duration::as_secs_f64);
        let slowest_seconds = times.last().map_or(f64::NAN, Duration::as_secs_f64);
        let (server, peak_mib) = (server.kind, server.peak_mib());
        Self {
            what,
            server,
            round,
            accounts,
            bytes,
            wall_seconds,
            cpu_seconds,
            login_cpu_seconds,
            peak_mib,
            median_seconds,
            slowest_seconds,
            errors,
            load_before,
        }
    }

    fn mib_per_second(&self) -> f64 {
        self.bytes as f64 / MIB / self.wall_seconds
    }

    fn cpu_per_gib(&self) -> f64 {
        self.cpu_seconds / (self.bytes as f64 / GIB)
    }

    fn cpu_per_gib_with_logins(&self) -> f64 {
        (self.cpu_seconds + self.login_cpu_seconds) / (self.bytes as f64 / GIB)
    }

    fn cpu_ms_per_login(&self) -> f64 {
        self.login_cpu_seconds * 1000.0 / self.accounts as f64
    }

    fn fairness(&self) -> f64 {
        self.slowest_seconds / self.median_seconds
    }

    pub(super) fn describe(&self) -> String {
        format!(
            "{} {} round {}: {:.0} MiB/s, {:.2} CPU s per GiB, {:.1} CPU ms per login, {:.0} MiB, slowest by median {:.2}, {} errors (load {:.1})",
            self.what,
            self.server.name(),
            self.round + 1,
            self.mib_per_second(),
            self.cpu_per_gib(),
            self.cpu_ms_per_login(),
            self.peak_mib,
            self.fairness(),
            self.errors,
            self.load_before
        )
    }
}

pub(super) fn to_text(rows: &[Row]) -> String {
    let mut text =
        "what\tserver\tround\taccounts\tbytes\twall_s\tmib_per_s\tcpu_s\tcpu_s_per_gib\tlogin_cpu_s\tpeak_mib\tmedian_s\t\
                    slowest_s\tslowest_by_median\terrors\tload_before\n"
            .to_owned();
    for row in rows {
        let _ = writeln!(
            text,
            "{}\t{}\t{}\t{}\t{}\t{:.3}\t{:.1}\t{:.2}\t{:.3}\t{:.2}\t{:.1}\t{:.3}\t{:.3}\t{:.3}\t{}\t{:.2}",
            row.what,
            row.server.name(),
            row.round + 1,
            row.accounts,
            row.bytes,
            row.wall_seconds,
            row.mib_per_second(),
            row.cpu_seconds,
            row.cpu_per_gib(),
            row.login_cpu_seconds,
            row.peak_mib,
            row.median_seconds,
            row.slowest_seconds,
            row.fairness(),
            row.errors,
            row.load_before
        );
    }
    text
}

fn median(rows: &[&Row], figure: impl Fn(&Row) -> f64) -> f64 {
    let mut figures: Vec<f64> = rows.iter().map(|row| figure(row)).collect();
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => figures[length / 2],
        length => f64::midpoint(figures[length / 2 - 1], figures[length / 2]),
    }
}

pub(super) fn page(circumstances: &[String], rows: &[Row]) -> String {
    let mut page =
        "# Many accounts at once, beside restic's rest-server and rclone\n\nMade by `cargo xtask bench store`; \
                    every figure of every round is in `results.tsv` here.\n\n"
            .to_owned();
    for line in circumstances {
        let _ = writeln!(page, "- {line}");
    }
    let mut whats: Vec<&str> = rows.iter().map(|row| row.what.as_str()).collect();
    whats.dedup();
    for what in whats {
        let _ = writeln!(page, "\n## {what}\n");
        page.push_str(
            "| server | MiB/s | CPU s per GiB | CPU ms per login | peak MiB | slowest by median | errors | rounds |\n",
        );
        page.push_str("|---|---|---|---|---|---|---|---|\n");
        for kind in ServerKind::ALL {
            let turns: Vec<&Row> = rows.iter().filter(|row| row.what == what && row.server == kind).collect();
            if turns.is_empty() {
                continue;
            }
            let _ = writeln!(
                page,
                "| {} | {:.0} | {:.2} | {:.1} | {:.0} | {:.2} | {} | {} |",
                kind.name(),
                median(&turns, Row::mib_per_second),
                median(&turns, Row::cpu_per_gib),
                median(&turns, Row::cpu_ms_per_login),
                turns.iter().map(|row| row.peak_mib).fold(0.0, f64::max),
                turns.iter().map(|row| row.fairness()).fold(0.0, f64::max),
                turns.iter().map(|row| row.errors).sum::<u64>(),
                turns.len()
            );
        }
        page.push_str(&verdict(rows, what));
    }
    page
}

/// Medians of rates and CPU, the worst of fairness, against the better of the others in each.
fn verdict(rows: &[Row], what: &str) -> String {
    let of = |kind: ServerKind| rows.iter().filter(|row| row.what == what && row.server == kind).collect::<Vec<_>>();
    let ours = of(ServerKind::Store);
    let others = [of(ServerKind::RestServer), of(ServerKind::Rclone)];
    let others: Vec<&Vec<&Row>> = others.iter().filter(|turns| !turns.is_empty()).collect();
    if ours.is_empty() || others.is_empty() {
        return String::new();
    }
    let fastest = others.iter().map(|turns| median(turns, Row::mib_per_second)).fold(0.0, f64::max);
    let cpu_by = |figure: fn(&Row) -> f64| {
        let cheapest = others.iter().map(|turns| median(turns, figure)).fold(f64::INFINITY, f64::min);
        median(&ours, figure) / cheapest
    };
    let speed = median(&ours, Row::mib_per_second) / fastest;
    let (cpu, cpu_with_logins) = (cpu_by(Row::cpu_per_gib), cpu_by(Row::cpu_per_gib_with_logins));
    let fairness = ours.iter().map(|row| row.fairness()).fold(0.0, f64::max);
    let met = |is: bool| if is { "met" } else { "**missed**" };
    format!(
        "\n| goal | measured | |\n|---|---|---|\n| at least as fast as the better | {speed:.2} | {} |\n| at most \
         {CPU_PART_MAX} of the better's CPU | {cpu:.2} | {} |\n| the same with the logins | {cpu_with_logins:.2} | {} |\n| slowest at most {FAIRNESS_MAX} medians | {fairness:.2} | {} |\n",
        met(speed >= 1.0),
        met(cpu <= CPU_PART_MAX),
        met(cpu_with_logins <= CPU_PART_MAX),
        met(fairness <= FAIRNESS_MAX)
    )
}
