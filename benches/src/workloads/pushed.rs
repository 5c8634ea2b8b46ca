//! How much each program pushed: whoever compresses less is faster, and the reader has to see it.

use std::collections::BTreeMap;

use crate::bench::Bench;
use crate::model::Program;

/// Bytes in the registry after each program's last push.
#[derive(Debug, Default)]
pub(crate) struct Pushed(BTreeMap<Program, u64>);

impl Pushed {
    /// Notes what the registry has now.
    pub(crate) fn note(&mut self, bench: &Bench, program: Program) {
        self.0.insert(program, bench.registry.size());
    }

    /// A sentence on the settings and one on the sizes.
    pub(crate) fn text(&self) -> String {
        format!(
            "Stores and registry are empty before each run. Every program compresses with gzip at \
             its own default level. In the registry were afterwards: {}.",
            megabytes(&self.0)
        )
    }
}

/// How much each program made, as a list.
pub(crate) fn megabytes(sizes: &BTreeMap<Program, u64>) -> String {
    let sizes = sizes.iter().map(|(program, bytes)| {
        // Tenths, without a float that could not hold every size.
        let tenths = bytes / 100_000;
        format!("{} {}.{} MB", program.name(), tenths / 10, tenths % 10)
    });
    sizes.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_megabytes() {
        let sizes = [(Program::Docker, 2_060_000), (Program::Kiln, 1_950_000_000)];
        let text = Pushed(sizes.into()).text();
        assert!(text.ends_with(": kiln 1950.0 MB, Docker 2.0 MB."), "{text}");
    }
}
