//! build(request, events) to outcome: wires the crates below and writes the outputs.
