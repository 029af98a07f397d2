//! Writes metric families: a name, a help text, and a value for each set of labels.

use std::fmt::Result;
use std::time::{Duration, SystemTime};

use highhock_actors::runtime::metrics::HistogramSnapshot;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// The prefix of this program's own metrics.
const PREFIX: &str = "highhock_";

/// A metric's labels: names and values.
pub(super) type Labels<'a> = Vec<(&'static str, &'a str)>;

/// Writes metric families, one after the other.
pub(super) struct MetricWriter<'a>(DescriptorEncoder<'a>);

/// The name, unit and help text of a metric.
pub(super) struct MetricFamily<'a> {
    name: String,
    unit: Option<Unit>,
    help: &'a str,
}

/// Creates a family of this program's own. `name` gets the prefix; `help` is one line.
pub(super) fn family<'a>(name: &str, help: &'a str) -> MetricFamily<'a> {
    unprefixed_family(&format!("{PREFIX}{name}"), help)
}

/// Creates a family with a name without the prefix.
pub(super) fn unprefixed_family<'a>(name: &str, help: &'a str) -> MetricFamily<'a> {
    MetricFamily { name: name.to_owned(), unit: None, help }
}

impl MetricFamily<'_> {
    /// Sets the unit to seconds, which is appended to the name.
    pub fn seconds(self) -> Self {
        Self { unit: Some(Unit::Seconds), ..self }
    }

    /// Sets the unit to bytes, which is appended to the name.
    pub fn bytes(self) -> Self {
        Self { unit: Some(Unit::Bytes), ..self }
    }
}

impl<'a> MetricWriter<'a> {
    pub fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    /// Writes a gauge with one value; skips it if the value is unknown.
    pub fn gauge(&mut self, family: MetricFamily, value: impl Into<Option<f64>>) -> Result {
        match value.into() {
            Some(value) => self.gauges(family, [(Vec::new(), value)]),
            None => Ok(()),
        }
    }

    /// Writes a gauge with a time, in seconds since 1970; skips it if there is no time yet.
    pub fn timestamp(&mut self, family: MetricFamily, time: Option<SystemTime>) -> Result {
        let since_1970 = time.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        self.gauge(family.seconds(), since_1970.map(|since| since.as_secs_f64()))
    }

    /// Writes a gauge with a value for each set of labels.
    pub fn gauges<'l>(
        &mut self,
        family: MetricFamily,
        values: impl IntoIterator<Item = (Labels<'l>, f64)>,
    ) -> Result {
        let MetricFamily { name, unit, help } = family;
        let mut metric = self.0.encode_descriptor(&name, help, unit.as_ref(), MetricType::Gauge)?;
        for (labels, value) in values {
            encode_labelled(&mut metric, &labels, |metric| metric.encode_gauge(&value))?;
        }
        Ok(())
    }

    /// Writes a counter with one value. The encoder appends `_total` to the name.
    pub fn counter(&mut self, family: MetricFamily, value: impl EncodeCounterValue) -> Result {
        self.counters(family, [(Vec::new(), value)])
    }

    /// Writes a counter with a value for each set of labels.
    pub fn counters<'l, V: EncodeCounterValue>(
        &mut self,
        family: MetricFamily,
        values: impl IntoIterator<Item = (Labels<'l>, V)>,
    ) -> Result {
        let MetricFamily { name, unit, help } = family;
        let mut metric =
            self.0.encode_descriptor(&name, help, unit.as_ref(), MetricType::Counter)?;
        for (labels, value) in values {
            encode_labelled(&mut metric, &labels, |metric| {
                metric.encode_counter::<NoLabelSet, V, f64>(&value, None)
            })?;
        }
        Ok(())
    }

    /// Writes a histogram in seconds for each set of labels, with a bucket for each upper bound.
    pub fn histograms<'l>(
        &mut self,
        family: MetricFamily,
        bounds: &[Duration],
        values: impl IntoIterator<Item = (Labels<'l>, HistogramSnapshot)>,
    ) -> Result {
        let MetricFamily { name, unit, help } = family.seconds();
        let mut metric =
            self.0.encode_descriptor(&name, help, unit.as_ref(), MetricType::Histogram)?;
        for (labels, timing) in values {
            let buckets = buckets(bounds, &timing);
            let (sum, count) = (timing.sum.as_secs_f64(), timing.count);
            encode_labelled(&mut metric, &labels, |metric| {
                metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
            })?;
        }
        Ok(())
    }

    /// Writes constant facts as labels of a metric that is always 1.
    pub fn info(&mut self, family: MetricFamily, facts: Labels) -> Result {
        let MetricFamily { name, unit, help } = family;
        let mut metric = self.0.encode_descriptor(&name, help, unit.as_ref(), MetricType::Info)?;
        metric.encode_info(&facts)
    }
}

/// Encodes one value with its labels, without empty braces if there are no labels.
fn encode_labelled(
    metric: &mut MetricEncoder,
    labels: &Labels,
    encode: impl FnOnce(&mut MetricEncoder) -> Result,
) -> Result {
    if labels.is_empty() { encode(metric) } else { encode(&mut metric.encode_family(labels)?) }
}

/// Returns each upper bound with the number of values above the previous bound.
fn buckets(bounds: &[Duration], timing: &HistogramSnapshot) -> Vec<(f64, u64)> {
    let mut below = 0;
    let mut bucket = |bound: f64, at_most: u64| {
        let within = at_most - below;
        below = at_most;
        (bound, within)
    };
    let mut buckets: Vec<_> =
        bounds.iter().map(|at| bucket(at.as_secs_f64(), timing.count_at_most(*at))).collect();
    buckets.push(bucket(f64::INFINITY, timing.count));
    buckets
}
