//! Figures as metrics: a name, a help text, values with labels.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

/// Labels of one value.
pub type Labels = Vec<(&'static str, String)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Gauge,
    /// Only ever grows, until the process ends. Its name gets `_total`.
    Counter,
}

/// One metric with all its values.
#[derive(Debug, Clone)]
pub struct Figure {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    pub values: Vec<(Labels, f64)>,
}

impl Figure {
    pub fn gauge(name: &'static str, help: &'static str, value: impl Number) -> Self {
        Self { name, help, kind: Kind::Gauge, values: vec![(Labels::new(), value.number())] }
    }

    pub fn counter(name: &'static str, help: &'static str, value: impl Number) -> Self {
        Self { kind: Kind::Counter, ..Self::gauge(name, help, value) }
    }

    pub fn each(name: &'static str, help: &'static str, values: Vec<(Labels, f64)>) -> Self {
        Self { name, help, kind: Kind::Gauge, values }
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
        let metric_type = match self.kind {
            Kind::Gauge => MetricType::Gauge,
            Kind::Counter => MetricType::Counter,
        };
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, metric_type)?;
        for (labels, value) in &self.values {
            let mut family = metric.encode_family(labels)?;
            match self.kind {
                Kind::Gauge => family.encode_gauge(value)?,
                Kind::Counter => family.encode_counter::<Labels, f64, f64>(value, None)?,
            }
        }
        Ok(())
    }
}
