//! Figures as metrics: a name, a help text, values with labels.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

/// Labels of one value.
pub type Labels = Vec<(&'static str, String)>;

/// One metric with all its values.
#[derive(Debug, Clone)]
pub struct Figure {
    pub name: &'static str,
    pub help: &'static str,
    pub values: Values,
}

#[derive(Debug, Clone)]
pub enum Values {
    Gauge(Vec<(Labels, f64)>),
    /// They only ever grow, until the process ends. The name gets `_total`.
    Counter(Vec<(Labels, f64)>),
    Histogram(Vec<(Labels, Spread)>),
}

/// How many values lay up to each bound, and above the one before.
#[derive(Debug, Clone)]
pub struct Spread {
    pub sum: f64,
    pub buckets: Vec<(f64, u64)>,
}

impl Figure {
    pub fn gauge(name: &'static str, help: &'static str, value: impl Number) -> Self {
        Self::each(name, help, vec![(Labels::new(), value.number())])
    }

    pub fn counter(name: &'static str, help: &'static str, value: impl Number) -> Self {
        Self::each_counter(name, help, vec![(Labels::new(), value.number())])
    }

    pub fn each(name: &'static str, help: &'static str, values: Vec<(Labels, f64)>) -> Self {
        Self { name, help, values: Values::Gauge(values) }
    }

    pub fn each_counter(name: &'static str, help: &'static str, values: Vec<(Labels, f64)>) -> Self {
        Self { name, help, values: Values::Counter(values) }
    }

    pub fn each_spread(name: &'static str, help: &'static str, values: Vec<(Labels, Spread)>) -> Self {
        Self { name, help, values: Values::Histogram(values) }
    }
}

/// Prometheus counts in floating point: exact up to 2^53.
pub trait Number {
    fn number(self) -> f64;
}

impl Number for f64 {
    fn number(self) -> f64 {
        self
    }
}

impl Number for u64 {
    fn number(self) -> f64 {
        self as f64
    }
}

impl Number for usize {
    fn number(self) -> f64 {
        self as f64
    }
}

impl Number for bool {
    fn number(self) -> f64 {
        f64::from(u8::from(self))
    }
}

#[derive(Debug)]
pub struct Figures(pub Vec<Figure>);

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for figure in &self.0 {
            figure.encode(&mut encoder)?;
        }
        Ok(())
    }
}

impl Figure {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let metric_type = match self.values {
            Values::Gauge(_) => MetricType::Gauge,
            Values::Counter(_) => MetricType::Counter,
            Values::Histogram(_) => MetricType::Histogram,
        };
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, metric_type)?;
        match &self.values {
            Values::Gauge(values) => values
                .iter()
                .try_for_each(|(labels, value)| metric.encode_family(labels)?.encode_gauge(value)),
            Values::Counter(values) => values.iter().try_for_each(|(labels, value)| {
                metric.encode_family(labels)?.encode_counter::<Labels, f64, f64>(value, None)
            }),
            Values::Histogram(values) => values.iter().try_for_each(|(labels, spread)| {
                let count = spread.buckets.iter().map(|(_, count)| count).sum();
                let mut family = metric.encode_family(labels)?;
                family.encode_histogram::<Labels>(spread.sum, count, &spread.buckets, None)
            }),
        }
    }
}
